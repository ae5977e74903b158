"""``core collections`` on the command line: its words, its codes, what it refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from core_cis.__main__ import main
from core_cis.audit import read_log
from tests.integration.core_cis.collecting_utility import ACCOUNT, FEE_CENTS, Utility


@pytest.fixture
def utility(file_core: Any) -> Iterator[Utility]:
    """Return a utility with an unpaid bill; nobody listens where its edges should."""
    made = Utility(file_core)
    made.fill()
    yield made
    made.store.close()


def run(utility: Utility, *words: str) -> Result:
    """Run a command beside the open store."""
    arguments = ["collections", *words, "--data", str(utility.data_dir)]
    return CliRunner().invoke(main, arguments)


def test_run_says_what_waits_and_what_was_done(utility: Utility) -> None:
    """Code 3 and the edges' names; by override the fee, in words and as JSON; then nothing more."""
    waiting = run(utility, "run", "--as-of", "2026-03-01")
    assert waiting.exit_code == 3
    for name in ("east", "west"):
        assert f"edge {name} does not answer: payments may wait there" in waiting.output
    assert "0 steps taken, 1 wait, as of 2026-03-01" in waiting.output
    told = json.loads(run(utility, "run", "--as-of", "2026-03-01", "--json").output)
    assert (told["result"], told["waiting"][0]["waits"][0]["reason"]) == ("waiting", "edge_silent")
    without = ("--without-edge", "east", "--without-edge", "west")
    refused = run(utility, "run", "--as-of", "2026-03-01", *without)
    assert refused.exit_code == 2
    done = run(utility, "run", "--as-of", "2026-03-01", *without, "--reason", "both are lost")
    assert done.exit_code == 0, done.output
    assert "late fee" in done.output
    assert "1.27" in done.output
    assert "without the word of edge east" in done.output
    listed = run(utility, "list", "--account", ACCOUNT)
    assert "by override" in listed.output
    (step,) = json.loads(run(utility, "list", "--json").output)
    assert (step["account_id"], step["step"], step["fee"]) == (ACCOUNT, "late_fee", FEE_CENTS)


def test_a_day_that_has_not_come_is_refused(utility: Utility) -> None:
    """Nothing is judged by what may still be paid."""
    refused = run(utility, "run", "--as-of", "2999-01-01")
    assert refused.exit_code == 2
    assert "has not come yet" in refused.output


def test_terms_are_changed_by_name_and_written_down(utility: Utility) -> None:
    """What is not named stays; every change says why."""
    assert run(utility, "terms", "--grace-days", "9").exit_code == 2
    changed = run(
        utility,
        *("terms", "--late-fee-cents", "250", "--late-fee-percent", "1.25"),
        *("--moratorium", "2026-11-15..2027-03-31", "--reason", "sheet 12"),
    )
    assert changed.exit_code == 0, changed.output
    assert "2026-11-15..2027-03-31" in changed.output
    told = json.loads(run(utility, "terms", "--grace-days", "9", "--reason", "x", "--json").output)
    assert (told["version"], told["terms"]["grace_days"]) == (3, 9)
    assert (told["terms"]["late_fee_cents"], told["terms"]["late_fee_basis_points"]) == (250, 125)
    assert len(told["terms"]["moratoria"]) == 1
    ended = json.loads(run(utility, "terms", "--no-moratorium", "--reason", "x", "--json").output)
    assert ended["terms"]["moratoria"] == []
    lines = read_log(utility.store.connection, limit=9)
    assert [line.action for line in lines] == ["collections.terms"] * 3
    assert lines[-1].detail["late_fee_basis_points"] == 125


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grace-days", "-1"), "between 0 and"),
        (("--late-fee-percent", "101"), "between 0 and"),
        (("--late-fee-percent", "nan"), "is not a percentage"),
        (("--moratorium", "2026-11-15"), "FIRST..LAST"),
        (("--moratorium", "2026-11-15..2026-11-14"), "cannot begin"),
    ],
)
def test_terms_that_cannot_be_change_nothing(
    utility: Utility, words: tuple[str, ...], said: str
) -> None:
    """What is wrong is said."""
    refused = run(utility, "terms", *words, "--reason", "x")
    assert refused.exit_code in {1, 2}
    assert said in refused.output
    assert json.loads(run(utility, "terms", "--json").output)["version"] == 1
