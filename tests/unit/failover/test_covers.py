"""What a backup covers, as the core signs it."""

from dataclasses import dataclass

import msgspec
import pytest

from failover.covers import Cover, Following, read_cover, sign_cover
from failover.signed_orders import SignedOrder
from failover.signing import generate_signing_key, public_key
from failover.standin import Limits
from failover.standin_orders import StandinOrder, sign_order
from tests.unit.failover.test_intent_states import outcome

CORE = generate_signing_key()
COVER = Cover(mark="B-1", epoch=2, heads={"0": 10, "1": 4}, timezone="UTC")


@dataclass
class Place:
    """Where an outcome stands."""

    epoch: int
    shard: str
    seq: int


@pytest.mark.parametrize(
    ("place", "covered"),
    [
        (Place(2, "0", 10), True),
        (Place(2, "0", 11), False),
        (Place(2, "1", 5), False),
        (Place(2, "7", 1), False),
        (Place(1, "0", 3), False),
        (Place(3, "0", 3), False),
    ],
)
def test_only_the_same_epoch_up_to_the_head_is_covered(place: Place, covered: bool) -> None:  # noqa: FBT001 - a parameter
    """Of an earlier epoch nothing is: a restored core may have forgotten it."""
    told = msgspec.structs.replace(outcome("id", place.epoch), shard=place.shard, seq=place.seq)
    assert COVER.covers(told) is covered


def test_only_what_the_core_signed_as_a_cover_is_one() -> None:
    """Not another's signature, another text, or an order of another purpose."""
    signed = sign_cover(COVER, CORE)
    order = StandinOrder(node_id="east", epoch=2, serial=1, version=1, limits=Limits())
    assert read_cover(signed, public_key(CORE)) == COVER
    for forged in (
        sign_cover(COVER, generate_signing_key()),
        SignedOrder(signed.text.replace("10", "99"), signed.signature),
        SignedOrder(signed.text, "not base64"),
        sign_order(order, CORE),
    ):
        assert read_cover(forged, public_key(CORE)) is None


def test_what_an_edge_follows_reads_back() -> None:
    """Also of one that follows nothing, or does not say."""
    for following in (Following(), Following("B-2"), Following("B-2", "B-1")):
        assert Following.parse(str(following)) == following
    assert Following.parse("") == Following()
