"""
An edge whose wall clock is hours off, or jumps while it runs: limits, sessions, order and labels are as ever.

libfaketime shows the processes of one edge another wall clock, which a file moves; the clock that counts from the boot
stays true, as it does on a machine that was set wrong.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec
import pytest

from edge_portal import words
from failover.standin import Limits
from tests.integration.edge_fleet import Customer, EdgeFleet, EdgeProcess, wait_until

FAKETIME = find_spec("libfaketime")
PAYMENTS_A_DAY = Limits().account_day_count
TRUE_WITHIN = timedelta(seconds=60)
# Each jumps from the one before it; the last one is beyond every window of limits and sign-ins.
SKEWS = ["+2h", "-2h", "+26h"]


class WrongClock:
    """The wall clock of an edge's processes, moved by a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "skew"
        self.move("+2h")

    def move(self, skew: str) -> None:
        """Let it jump; ``skew`` is how far it is off the true time."""
        # In one step: the file is read at every look at the clock.
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{skew}\n")
        beside.replace(self._file)

    def environment(self) -> dict[str, str]:
        """Tell what a process needs to see it."""
        assert FAKETIME is not None
        assert FAKETIME.origin is not None
        library = Path(FAKETIME.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
        return {
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


class Skewed:
    """A fleet whose first edge has the wrong clock; the second one has the true one."""

    def __init__(self, folder: Path) -> None:
        self.fleet = EdgeFleet(folder, accounts=12, workers=1)
        self.clock = WrongClock(folder)
        self.wrong, self.right = self.fleet.edges
        self.wrong.environment = self.clock.environment()
        self._next = 0

    def customer(self) -> tuple[Customer, Customer]:
        """Sign a customer in whom no test before had, at the edge with the wrong clock; return them at both."""
        self._next += 1
        at_wrong = self.fleet.customer(self._next - 1, self.wrong)
        return at_wrong, self.fleet.move(at_wrong, self.right)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skewed]:
    """Run the fleet; it starts with a clock that is two hours ahead."""
    world = Skewed(tmp_path_factory.mktemp("skewed"))
    try:
        world.fleet.heal()
        yield world
    finally:
        world.fleet.stop()


def told(answer: httpx.Response) -> datetime:
    """Read the as-of time of an answer."""
    return datetime.fromisoformat(answer.headers["Ridethrough-As-Of"])


def is_now(moment: datetime) -> bool:
    """Tell whether a moment is the present one, as the true clock has it."""
    return abs(datetime.now(UTC) - moment) < TRUE_WITHIN


def accepted_at(answer: httpx.Response) -> datetime:
    """Read when a payment or message was accepted."""
    return datetime.fromisoformat(answer.json()["accepted_at"])


def since(edge: EdgeProcess) -> datetime:
    """Ask an edge since when it is in its mode."""
    return datetime.fromisoformat(edge.status()["since"])


@pytest.mark.parametrize("skew", SKEWS)
def test_with_the_core_up_nothing_shows_it(world: Skewed, skew: str) -> None:
    """Sign-ins of either edge are good at both; as-of time, age and the payment's time are the true ones."""
    world.fleet.heal()
    at_wrong, at_right = world.customer()
    other = world.fleet.customer(11, world.right)
    world.clock.move(skew)
    assert at_wrong.client.get("/account").status_code == 200
    assert at_right.client.get("/account").status_code == 200
    assert world.fleet.move(other, world.wrong).client.get("/account").status_code == 200
    shown = at_wrong.client.get("/account")
    assert is_now(told(shown))
    assert int(shown.headers["Age"]) < TRUE_WITHIN.total_seconds()
    paid = at_wrong.pay(100)
    assert (paid.status_code, paid.json()["state"]) == (201, "posted")
    assert is_now(accepted_at(paid))
    assert world.wrong.mode() == "normal"


@pytest.mark.parametrize("skew", SKEWS)
def test_in_an_outage_nothing_shows_it(world: Skewed, skew: str) -> None:
    """Labels, limits and sign-ins while the clock jumps; then what was taken is decided in the order of truth."""
    world.fleet.heal()
    at_wrong, at_right = world.customer()
    assert at_wrong.method == at_right.method
    world.clock.move(skew)
    world.fleet.kill_core()
    before = at_wrong.client.get("/account")
    _since_is_true(world, skew)
    world.clock.move("+0")
    _same_labels(before, at_wrong)
    # What an account may pay in a day is used up, and stays so.
    wait_until("accepted", lambda: at_wrong.pay(100, key="0").status_code == 202)
    answers = [at_wrong.pay(100, key=str(number)) for number in range(PAYMENTS_A_DAY)]
    assert {answer.status_code for answer in answers} == {202}
    paid = [answer.json()["id"] for answer in answers]
    world.clock.move("-2h" if skew != "-2h" else "+2h")
    over = at_wrong.pay(100)
    assert over.status_code == 422, over.text
    world.clock.move(skew)
    assert at_wrong.pay(100).status_code == 422
    # By the wrong clock the earlier of two messages would be the later one, and win.
    earlier, later = (at_right, at_wrong) if skew == "-2h" else (at_wrong, at_right)
    first = _change_address(earlier, "earlier@example.net")
    # The other edge holds it then, and dates nothing of this account before it, however soon that comes.
    wait_until("copied", lambda: _state(earlier, first) == "accepted")
    second = _change_address(later, "later@example.net")
    assert accepted_at(first) < accepted_at(second)
    world.fleet.start_core()
    for customer in (at_wrong, at_right):
        wait_until("decided", _shows(customer, "later@example.net"))
    for payment_id in paid:
        wait_until("posted", lambda id_=payment_id: at_right.state(id_) == "posted")  # type: ignore[misc]
    posted = world.fleet.posted(at_wrong.account_id)
    assert [entry["amount"] for entry in posted] == [-100] * PAYMENTS_A_DAY
    # Dated by when they were accepted, and in that order.
    times = [accepted_at(at_right.client.get(f"/payments/{payment_id}")) for payment_id in paid]
    assert times == sorted(times)
    assert all(is_now(moment) for moment in times)


def _same_labels(before: httpx.Response, customer: Customer) -> None:
    after = customer.client.get("/account")
    assert after.headers["Ridethrough-Mode"] == "degraded"
    assert told(after) == told(before)
    assert 0 <= int(after.headers["Age"]) - int(before.headers["Age"]) < 30
    time.sleep(1.1)
    assert int(customer.client.get("/account").headers["Age"]) > int(before.headers["Age"])


def _since_is_true(world: Skewed, skew: str) -> None:
    """Customers and operators are told when the outage began, not what the wrong clock said then."""
    # The test of the test: the line about it in the edge's own log has the wrong time.
    lines = [msgspec.json.decode(line) for line in world.wrong.log.read_bytes().splitlines()]
    stamps = [line["timestamp"] for line in lines if line.get("mode") == "degraded"]
    off = datetime.fromisoformat(stamps[-1]) - datetime.now(UTC)
    assert abs(off - timedelta(hours=int(skew[:-1]))) < TRUE_WITHIN
    began = since(world.right)
    assert abs(since(world.wrong) - began) < TRUE_WITHIN
    page = httpx.get(f"{world.wrong.url}/service", timeout=10, trust_env=False).text
    labels = [
        words.moment_short(began + timedelta(minutes=off), "America/New_York", began.date())
        for off in (-1, 0, 1)
    ]
    assert any(label.split(" today")[0] in page for label in labels), page


def _state(customer: Customer, sent: httpx.Response) -> str:
    return str(customer.client.get(f"/messages/{sent.json()['id']}").json()["state"])


def _change_address(customer: Customer, address: str) -> httpx.Response:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    sent = customer.client.post("/contact-changes", json={"email": address}, headers=key)
    assert sent.status_code == 202
    assert is_now(accepted_at(sent))
    return sent


def _shows(customer: Customer, address: str) -> Callable[[], bool]:
    return lambda: customer.client.get("/account").json()["contact_email"] == address
