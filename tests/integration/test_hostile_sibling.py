"""A registered edge that lies: what it says of another's payments changes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from failover.intents import Outcome
from failover.node_config import read_config
from failover.peer_messages import OutcomeAnswer, OutcomeNotice, RecordedPage
from failover.signing import Signer
from failover.web import MSGPACK, authorization_header
from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, wait_until


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet."""
    made = EdgeFleet(tmp_path_factory.mktemp("hostile"))
    try:
        made.start_core()
        for edge in made.edges:
            edge.start()
        made.heal()
        yield made
    finally:
        made.stop()


def recorded(edge: EdgeProcess, fleet: EdgeFleet) -> RecordedPage:
    """Read an edge's own journal as the core does to reconcile."""
    secrets = msgspec.json.decode((fleet.core_data / "secrets.json").read_bytes())
    headers = {"Authorization": authorization_header("core", secrets["node_secret"])}
    config = read_config(edge.config)
    url = f"http://127.0.0.1:{config.peer_port}/peer/v1/intents"
    answer = httpx.get(url, headers=headers, timeout=10, trust_env=False)
    return msgspec.json.decode(answer.content, type=RecordedPage)


def tell(liar: EdgeProcess, victim: EdgeProcess, *outcomes: Outcome) -> OutcomeAnswer:
    """Tell outcomes in a registered edge's name, with its secret."""
    config = read_config(liar.config)
    answer = httpx.post(
        f"http://127.0.0.1:{read_config(victim.config).peer_port}/peer/v1/outcomes",
        content=msgspec.msgpack.encode(OutcomeNotice(list(outcomes))),
        headers={
            "Authorization": authorization_header(config.node_id, config.node_secret),
            "Content-Type": MSGPACK,
        },
        timeout=10,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return msgspec.msgpack.decode(answer.content, type=OutcomeAnswer)


def test_a_hostile_sibling_cannot_settle_what_the_core_has_not_decided(fleet: EdgeFleet) -> None:
    """
    A payment is accepted while the core is away; the sibling, broken into, says that it was posted, and rejected.

    Unsigned, signed with the sibling's own key, or under the signature of a true outcome of another payment: nothing of
    it is believed, the customer is told "accepted" on, and the core posts the payment once.
    """
    victim, liar = fleet.edges
    customer = fleet.customer(0, victim)
    assert customer.pay(100, key="true").status_code == 201
    fleet.kill_core()
    receipt = customer.pay(600, key="target").json()
    assert receipt["state"] == "accepted"

    items = {item.intent.intent_id: item for item in recorded(victim, fleet).items}
    intent = items[receipt["id"]].intent
    (true,) = [item.outcome for item in items.values() if item.outcome is not None]
    signer = Signer(read_config(liar.config).signing_key)
    for state in ("posted", "rejected", "dead_letter", "cancelled"):
        made_up = Outcome(
            intent_id=intent.intent_id,
            fingerprint=intent.fingerprint,
            state=state,
            accepted_at=intent.accepted_at,
            decided_at=datetime.now(UTC),
            epoch=true.epoch,
            shard=true.shard,
            seq=true.seq,
        )
        stolen = msgspec.structs.replace(made_up, signature=true.signature)
        answer = tell(liar, victim, made_up, signer.sign_outcome(made_up), stolen)
        assert (answer.intent_ids, len(answer.refused)) == ([], 3)
    assert customer.state(receipt["id"]) == "accepted"
    # The status is half a second behind the journal.
    wait_until("it waits on", lambda: victim.status()["queue"]["pending"] == 1)
    # What the core itself once signed is believed of anybody.
    assert tell(liar, victim, true).intent_ids == [true.intent_id]

    fleet.start_core()
    wait_until("posted", lambda: customer.state(receipt["id"]) == "posted")
    amounts = sorted(entry["amount"] for entry in fleet.posted(customer.account_id))
    assert amounts == [-600, -100]
    wait_until("its witness knows", lambda: liar.status()["queue"]["copies_held"] == 0)
