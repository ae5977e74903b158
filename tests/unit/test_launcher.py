"""`./ridethrough`: what it decides before it installs or runs anything."""

import ast
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "ridethrough"
LOCK = """\
typst==1.0 \\
    --hash=sha256:aa
    # via ridethrough (pyproject.toml)
uv==0.13.8 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via ridethrough (pyproject.toml:launcher)
uvloop==2.0 \\
    --hash=sha256:dd
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the two locks and an interpreter."""
    (tmp_path / "requirements.lock").write_text("run")
    (tmp_path / "requirements-dev.lock").write_text("tests")
    (tmp_path / "python").symlink_to(sys.executable)
    return tmp_path


def test_it_parses_where_python_is_too_old() -> None:
    """An old Python gets as far as the sentence that says what is needed."""
    tree = ast.parse(LAUNCHER.read_text(encoding="utf-8"), feature_version=(3, 6))
    assert tree.body


def test_too_old_a_python_is_refused_by_name(
    launcher: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no newer Python is found, the message names what is needed, what is there and what to install."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as refusal:
        launcher.require_python()
    message = str(refusal.value)
    assert "3.11" in message
    assert "3.9.2" in message
    assert "apt-get install" in message


def test_a_newer_python_on_the_path_takes_over(
    launcher: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first newer Python that really starts is handed the same arguments; a dead shim is passed over."""
    for name, status in (("python3.13", 127), ("python3.12", 0)):
        fake = tmp_path / name
        fake.write_text(f"#!/bin/sh\nexit {status}\n")
        fake.chmod(0o755)
    handed: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, argv: handed.append(argv))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(sys, "argv", ["ridethrough", "test", "-x"])
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SystemExit):
        launcher.require_python()
    assert handed[0] == [str(tmp_path / "python3.12"), str(LAUNCHER), "test", "-x"]


def test_an_environment_that_fits_needs_nothing(launcher: ModuleType, checkout: Path) -> None:
    """The environment of the tests serves every command."""
    stamp = launcher.wanted_stamp(checkout, checkout / "python")
    assert launcher.missing_part(stamp, stamp, tests=True) == "nothing"
    assert launcher.missing_part(stamp, stamp, tests=False) == "nothing"


def test_the_tests_packages_come_on_top(launcher: ModuleType, checkout: Path) -> None:
    """Where only the product was installed, `test` adds to it instead of starting over."""
    want = launcher.wanted_stamp(checkout, checkout / "python")
    have = {**want, "test_lock": None}
    assert launcher.missing_part(have, want, tests=False) == "nothing"
    assert launcher.missing_part(have, want, tests=True) == "tests"


@pytest.mark.parametrize("part", ["run_lock", "abi", "interpreter", "checkout"])
@pytest.mark.parametrize("tests", [True, False])
def test_whatever_it_was_made_from_differs_it_is_made_again(
    launcher: ModuleType, checkout: Path, part: str, *, tests: bool
) -> None:
    """Another lock, Python, interpreter file or place: nothing of the old environment is trusted."""
    want = launcher.wanted_stamp(checkout, checkout / "python")
    assert launcher.missing_part({**want, part: "other"}, want, tests=tests) == "all"
    assert launcher.missing_part({}, want, tests=tests) == "all"


def test_a_changed_lock_of_the_tests_concerns_the_tests_only(
    launcher: ModuleType, checkout: Path
) -> None:
    """A new linter is no reason to rebuild under a running core."""
    have = launcher.wanted_stamp(checkout, checkout / "python")
    (checkout / "requirements-dev.lock").write_text("other tests")
    want = launcher.wanted_stamp(checkout, checkout / "python")
    assert launcher.missing_part(have, want, tests=False) == "nothing"
    assert launcher.missing_part(have, want, tests=True) == "all"


def test_the_stamp_names_lock_interpreter_and_place(launcher: ModuleType, checkout: Path) -> None:
    """Each of the three changes the stamp when it changes."""
    python = checkout / "python"
    before = launcher.wanted_stamp(checkout, python)
    assert before["checkout"] == str(checkout)
    (checkout / "requirements.lock").write_text("another run")
    python.unlink()
    python.write_bytes(b"another build")
    after = launcher.wanted_stamp(checkout, python)
    assert after["run_lock"] != before["run_lock"]
    assert after["interpreter"] != before["interpreter"]
    assert after["test_lock"] == before["test_lock"]


def test_an_environment_that_is_a_link_is_not_emptied_where_it_points(
    launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's environment stays as it is; the link is what goes."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "theirs").write_text("kept")
    link = tmp_path / "checkout-venv"
    link.symlink_to(shared)

    def stop(*_: object, **__: object) -> None:
        raise launcher.SetupError

    monkeypatch.setattr(launcher, "VENV", link)
    monkeypatch.setattr(launcher, "install", stop)
    with pytest.raises(launcher.SetupError):
        launcher.make_environment(tmp_path / "python", held=0)
    assert (shared / "theirs").read_text() == "kept"
    assert not link.is_symlink()


def test_an_interpreter_that_is_gone_has_no_identity(launcher: ModuleType, tmp_path: Path) -> None:
    """A link to an uninstalled Python is noticed."""
    (tmp_path / "python").symlink_to(tmp_path / "uninstalled")
    assert launcher.interpreter_identity(tmp_path / "python") is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", '"text"'])
def test_an_unreadable_stamp_is_no_stamp(
    launcher: ModuleType, tmp_path: Path, text: str | None
) -> None:
    """An installation that was cut off left none, or half of one: it starts over."""
    if text is not None:
        (tmp_path / launcher.STAMP).write_text(text)
    assert launcher.read_stamp(tmp_path) == {}


def test_a_stamp_is_read_as_it_was_written(launcher: ModuleType, tmp_path: Path) -> None:
    """Written whole under its own name, nothing left beside it."""
    stamp = {"run_lock": "a", "test_lock": None, "checkout": "/ä b"}
    launcher.write_stamp(tmp_path, stamp)
    assert launcher.read_stamp(tmp_path) == stamp
    assert [path.name for path in tmp_path.iterdir()] == [launcher.STAMP]


def test_the_installer_is_taken_from_the_lock_with_its_hashes(launcher: ModuleType) -> None:
    """The block of exactly that package: not a longer name, not the comment after it."""
    block = launcher.locked_block(LOCK, "uv")
    assert block == "uv==0.13.8 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


def test_a_lock_without_the_installer_is_refused(launcher: ModuleType) -> None:
    """The message says where a whole lock comes from."""
    with pytest.raises(launcher.SetupError, match=r"uvx: get requirements\.lock again"):
        launcher.locked_block(LOCK, "uvx")


def test_the_real_lock_pins_the_installer(launcher: ModuleType) -> None:
    """What the launcher needs first is in the lock of the repository."""
    lock = (LAUNCHER.parent / launcher.RUN_LOCK).read_text(encoding="utf-8")
    assert launcher.locked_block(lock, "uv").count("--hash=sha256:") > 1


def test_a_checkout_without_locks_is_refused_by_name(
    launcher: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Half a checkout gives a sentence with the missing file, no traceback."""
    monkeypatch.setattr(launcher, "ROOT", tmp_path)
    monkeypatch.setattr(launcher, "VENV", tmp_path / ".venv")
    assert launcher.main(["core", "serve"]) == 1
    assert f"{tmp_path}/requirements.lock" in capsys.readouterr().err


def test_foreign_modules_are_kept_out_and_proxies_let_in(launcher: ModuleType) -> None:
    """Somebody's PYTHONPATH does not reach our processes; how they reach the network does."""
    environ = {"PYTHONPATH": "/x", "PYTHONHOME": "/y", "VIRTUAL_ENV": "/z", "HTTPS_PROXY": "p"}
    kept = launcher.clean_environment({**environ, "PIP_CERT": "c", "PATH": "/bin"})
    assert kept == {"HTTPS_PROXY": "p", "PIP_CERT": "c", "PATH": "/bin", "PYTHONSAFEPATH": "1"}


def test_one_at_a_time_prepares(launcher: ModuleType, tmp_path: Path) -> None:
    """A second holder is kept out for as long as the first one holds, and let in after."""
    path = tmp_path / "lock"
    fcntl = launcher.fcntl
    with launcher.only_one(path), path.open("w") as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open("w") as second:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_unknown_command_is_refused_with_the_list(
    launcher: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, the wrong word and what there is on standard error; standard output stays clean."""
    assert launcher.main(["servee"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no command 'servee'" in err
    assert "usage: ./ridethrough" in err


@pytest.mark.parametrize("arguments", [[], ["help"], ["-h"], ["--help"]])
def test_help_lists_every_command(
    launcher: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Without preparing anything."""
    assert launcher.main(arguments) == 0
    listed = capsys.readouterr().out
    for verb in (*launcher.PASSED_ON, "test", "check"):
        assert f"\n  {verb} " in listed


def test_the_tests_run_under_the_stamp_of_this_checkout(launcher: ModuleType) -> None:
    """The environment that runs this test names this checkout and these locks, or it is not ours."""
    python = launcher.venv_python(launcher.VENV)
    if Path(sys.executable) != python:
        pytest.skip("the tests were not started with ./ridethrough test")
    stamp = json.loads((launcher.VENV / launcher.STAMP).read_text(encoding="utf-8"))
    assert stamp["checkout"] == str(LAUNCHER.parent)
