"""How customers want to be reached: of each field the change that was accepted later counts, in any order."""

import itertools
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from cache_sync.documents import AccountBody
from cache_sync.packed_bodies import unpack_body
from core_cis.intake import Intake
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore
from failover.message_bodies import (
    ContactChange,
    MessageBody,
)

ACCOUNT = "A-1001"


def reach(email: str | None = None, phone: str | None = None) -> MessageBody:
    """Change how the customer is reached."""
    return ContactChange(salt="salt", email=email, phone=phone)


def reached_by(store: CoreStore, account_id: str = ACCOUNT) -> tuple[object, object]:
    """Read what an account's document tells."""
    (body,) = store.connection.execute(
        "SELECT body FROM documents WHERE account_id = ? AND kind = 'account'", (account_id,)
    ).fetchone()
    account = msgspec.json.decode(unpack_body(body), type=AccountBody)
    return account.contact_email, account.contact_phone


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_of_each_field_the_later_accepted_change_counts(
    file_core: Any, order: tuple[int, ...]
) -> None:
    """Two edges drain in any order: the books end the same, and the sign-in stays what it was."""
    now = file_core.clock.now()
    changes = [
        file_core.message("c0", reach("old@example.org", "555-0100-11"), accepted_at=now),
        file_core.message(
            "c1", reach(phone="555-0100-22"), edge="west", accepted_at=now + timedelta(seconds=1)
        ),
        file_core.message("c2", reach("new@example.org"), accepted_at=now + timedelta(seconds=2)),
    ]
    with file_core.open() as store:
        intake = Intake(store, ServerSettings())
        told = {}
        for number in order:
            (told[number],) = intake.take([changes[number]], delivered_by="west").outcomes
        assert reached_by(store) == ("new@example.org", "555-0100-22")
        (signs_in_with,) = store.connection.execute(
            "SELECT email FROM customers WHERE customer_id = 'C-1'"
        ).fetchone()
    assert {each.state for each in told.values()} == {"posted"}
    assert (told[0].reason == "superseded") is (order[2] == 0)
    assert signs_in_with == "customer1@example.org"


def test_a_change_dated_in_the_future_is_replaced_all_the_same(file_core: Any) -> None:
    """It counts as of when it came: nobody has to wait for a wrong date to pass before being heard."""
    now = file_core.clock.now()
    ahead = file_core.message(
        "a", reach("ahead@example.org"), accepted_at=now + timedelta(hours=26)
    )
    with file_core.open() as store:
        intake = Intake(store, ServerSettings())
        intake.take([ahead], delivered_by="west")
        assert reached_by(store) == ("ahead@example.org", msgspec.UNSET)
        file_core.clock.move(1)
        later = file_core.message("b", reach("later@example.org"))
        (told,) = intake.take([later], delivered_by="west").outcomes
        assert (told.state, told.reason) == ("posted", "")
        assert reached_by(store) == ("later@example.org", msgspec.UNSET)


async def test_change_is_shown_at_all_accounts_of_the_customer(core: Any) -> None:
    """And at no other customer's; forgotten with the customer."""
    with core.open() as store, store.transaction() as tx:
        tx.connection.execute("UPDATE accounts SET customer_id = 'C-1' WHERE account_id = 'A-1002'")
    async with core.serving() as client:
        await core.deliver(client, core.message("c", reach("new@example.org", "+1 555 010 0100")))
    with core.open() as store:
        for account_id in (ACCOUNT, "A-1002"):
            assert reached_by(store, account_id) == ("new@example.org", "+1 555 010 0100")
        assert reached_by(store, "A-1003") == (msgspec.UNSET, msgspec.UNSET)
        kept = b"".join(
            bytes(value)
            for (value,) in store.connection.execute("SELECT intent FROM inbox").fetchall()
        )
    assert b"new@example.org" not in kept


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (reach(), "nothing_changed"),
        (reach(email="nobody"), "email_invalid"),
        (reach(email="two words@example.org"), "email_invalid"),
        (reach(email="a@" + "b" * 260 + ".org"), "email_invalid"),
        (reach(phone="call me"), "phone_invalid"),
        (reach(phone="12"), "phone_invalid"),
    ],
)
async def test_contact_must_be_one(core: Any, body: MessageBody, reason: str) -> None:
    """Whatever an edge let through."""
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, core.message("c", body))).outcomes
    assert (outcome.state, outcome.reason) == ("rejected", reason)
    with core.open() as store:
        assert reached_by(store) == (msgspec.UNSET, msgspec.UNSET)
