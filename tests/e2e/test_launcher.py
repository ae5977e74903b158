"""`./ridethrough` as a stranger runs it: another folder, no environment, no network, a path with a space."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SECONDS_MAX = 120
# Nothing listens there: whoever tries to download fails at once.
NO_NETWORK = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    "PIP_NO_INDEX": "1",
    "PIP_RETRIES": "0",
    "UV_OFFLINE": "1",
}


def ridethrough(
    checkout: Path, *arguments: str, folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Run the launcher with nothing but PATH and HOME, where every download fails."""
    return subprocess.run(
        [checkout / "ridethrough", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **NO_NETWORK},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@pytest.fixture
def prepared(checkout: Path) -> Path:
    """Return this checkout if its environment is there."""
    if not (checkout / ".venv" / "ridethrough-stamp.json").is_file():
        pytest.skip("the tests were not started with ./ridethrough test")
    return checkout


@pytest.fixture
def fresh(checkout: Path, tmp_path: Path) -> Path:
    """Return a copy of what the launcher needs, unprepared, private, under a path with a space."""
    copy = tmp_path / "a stranger's folder"
    copy.mkdir(mode=0o700)
    for name in ("ridethrough", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(checkout / name, copy / name)
    return copy


def test_prepared_once_it_runs_from_anywhere_without_network(
    prepared: Path, tmp_path: Path
) -> None:
    """Twice in a row from another folder: no word of preparing, and the pinned pytest answers."""
    for _ in range(2):
        done = ridethrough(prepared, "test", "--version", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("pytest 9.")
        assert "preparing" not in done.stderr


def test_modules_of_the_current_folder_are_not_ours(prepared: Path, tmp_path: Path) -> None:
    """A folder that holds a `pytest.py` of its own does not lead us astray."""
    (tmp_path / "pytest.py").write_text("raise SystemExit('astray')\n")
    done = ridethrough(prepared, "test", "--version", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pytest 9.")


def test_the_exit_status_of_the_tests_is_passed_on(prepared: Path, tmp_path: Path) -> None:
    """A selection that does not exist is pytest's usage error, not success."""
    done = ridethrough(prepared, "test", "tests/no_such_folder", folder=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr


def test_a_failing_installation_says_what_to_do_and_leaves_no_stamp(
    fresh: Path, tmp_path: Path
) -> None:
    """Without network the first run fails plainly, twice alike: half an environment is never used."""
    for _ in range(2):
        done = ridethrough(fresh, "core", "--help", folder=tmp_path)
        assert done.returncode == 1
        assert "Installing the installer (uv) with pip failed" in done.stderr
        assert "HTTPS_PROXY" in done.stderr
        assert "run the same command again" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert not (fresh / ".venv" / "ridethrough-stamp.json").exists()
