"""What is logged tells two accounts apart and names none."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from failover.logs import configure_logs, mask


def test_ids_are_masked_and_secrets_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids keep three characters; an e-mail address or a token does not even get that far."""
    try:
        configure_logs("core")
        structlog.get_logger().info(
            "paid", account_id="A-123456", email="ada@example.org", token="t", amount_cents=5
        )
    finally:
        structlog.reset_defaults()
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["account_id"], event["amount_cents"]) == ("paid", "…456", 5)
    assert not {"email", "token"} & set(event)


ON_A_FULL_DISK = """
import logging, resource, structlog
from failover.logs import configure_logs
configure_logs("edge")
log = structlog.get_logger()
log.info("before")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
for number in range(1000):
    log.error("the disk refuses", number=number)
logging.getLogger("library").warning("so does it for libraries")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.info("after")
print("went on")
"""


def test_who_logs_to_a_disk_that_refuses_goes_on(tmp_path: Path) -> None:
    """Nothing is raised; when it takes lines again, how many are missing is told."""
    file = tmp_path / "log"
    with file.open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", ON_A_FULL_DISK],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parents[3],
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"went on\n")
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [events[0]["event"], events[-2]["event"]] == ["before", "after"]
    assert events[-1]["lines"] + len(events) - 3 == 1001


def test_a_closed_standard_error_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its lines are lost."""
    closed = (tmp_path / "closed").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    try:
        configure_logs("edge")
        structlog.get_logger().error("nobody reads this")
        logging.getLogger("library").error("nor this")
    finally:
        structlog.reset_defaults()


def test_short_ids_show_nothing() -> None:
    """Three characters of three would be all of it."""
    assert mask("A-1") == "…"
