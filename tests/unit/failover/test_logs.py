"""What is logged tells two accounts apart and names none."""

import json

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


def test_short_ids_show_nothing() -> None:
    """Three characters of three would be all of it."""
    assert mask("A-1") == "…"
