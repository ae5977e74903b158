"""A node that loses its power holds a true state, and never less than it has said that it keeps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SNAPSHOT = "tests.integration.power_loss_child"
JOURNAL = "tests.integration.journal_power_loss_child"


def _run(
    checkout: Path, folder: Path, *planted: str, program: str = SNAPSHOT
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", program, str(folder), *planted]
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, timeout=300, check=False
    )


def test_no_power_loss_takes_what_was_said_to_be_kept(checkout: Path, tmp_path: Path) -> None:
    """
    Wherever the power is cut, the snapshot is a barrier state at or above the position that was told onward.

    Commits above it may go, whole ones, with their cursor; the feed brings them again.
    """
    ended = _run(checkout, tmp_path)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["told"] > 10
    # The newest commits do go: otherwise this would be the test of a disk that forgets nothing.
    assert 0 < seen["took"] < seen["losses"]


def test_a_log_that_is_not_flushed_is_found(checkout: Path, tmp_path: Path) -> None:
    """The test of the test: without the flush, something that was said to be kept is lost."""
    ended = _run(checkout, tmp_path, "unflushed")
    assert ended.returncode == 1
    assert "was kept" in ended.stderr


def test_no_power_loss_takes_what_a_journal_was_trusted_with(
    checkout: Path, tmp_path: Path
) -> None:
    """
    Wherever the power is cut, at every flush too, all is there that was acknowledged, under either key of a rotation.

    What may go is the note that a witness holds a copy: it is asked for again, and every payment ends decided once.
    """
    ended = _run(checkout, tmp_path, program=JOURNAL)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["losses"] > 300
    assert seen["promises"] > 300
    # Such notes do go: otherwise this would be the test of a disk that forgets nothing.
    assert 0 < seen["took_confirmations"] < seen["losses"]
    assert seen["made_anew"] > 0


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("normal", "was promised, and is lost"),
        ("forgets", "was promised, and is lost"),
        ("unflushed rename", "the journal cannot be opened"),
    ],
)
def test_a_journal_that_does_not_wait_for_the_disk_is_found(
    checkout: Path, tmp_path: Path, planted: str, found: str
) -> None:
    """The test of the test: `synchronous=NORMAL`, or a name that is not flushed, and something is lost."""
    ended = _run(checkout, tmp_path, planted, program=JOURNAL)
    assert ended.returncode == 1
    assert found in ended.stderr
