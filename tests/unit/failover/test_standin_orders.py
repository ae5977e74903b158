"""Limits as the core orders them: believed when it signed them, kept on the disk, the newest in force."""

import base64
from pathlib import Path

import msgspec
import pytest

from failover.signed_orders import SignedOrder
from failover.signing import generate_signing_key, public_key, sign_bytes
from failover.standin import OWN_FILE, Holding, Limits, OrderPlace
from failover.standin_orders import (
    NOTHING,
    StandinLimits,
    StandinOrder,
    sign_order,
)

CORE = generate_signing_key()
CONFIGURED = Limits(per_payment_cents=111, edge_outstanding_cents=5000)


def order(serial: int = 1, *, epoch: int = 1, share: int = 2000, node: str = "east") -> SignedOrder:
    """Sign what the core orders."""
    limits = Limits(per_payment_cents=222, edge_outstanding_cents=share, method_types=("card",))
    told = StandinOrder(node_id=node, epoch=epoch, serial=serial, version=serial, limits=limits)
    return sign_order(told, CORE)


def begun(folder: Path) -> StandinLimits:
    """Start a node's agent on a folder."""
    return StandinLimits(folder, node_id="east", core_key=public_key(CORE), configured=CONFIGURED)


def test_the_own_file_holds_until_the_core_was_heard(tmp_path: Path) -> None:
    """From then on its order, also after a restart without it."""
    node = begun(tmp_path)
    assert (node.limits, node.version) == (CONFIGURED, 0)
    assert node.holding(0) == Holding(OWN_FILE, 5000)
    node.note(order())
    for each in (node, begun(tmp_path)):
        assert (each.limits.per_payment_cents, each.version) == (222, 1)
        assert each.limits.method_types == ("card",)
        assert each.holding(0) == Holding(OrderPlace(1, 1), 2000)
        assert each.holding(3500) == Holding(OrderPlace(1, 1), 3500)


def test_the_newest_order_holds(tmp_path: Path) -> None:
    """Whatever arrives late; a core of a later epoch begins to count anew."""
    node = begun(tmp_path)
    for signed, share in (
        (order(5, share=500), 500),
        (order(4, share=400), 500),
        (order(6, share=600), 600),
        (order(1, epoch=2, share=100), 100),
        (order(9, share=900), 100),
    ):
        node.note(signed)
        assert node.limits.edge_outstanding_cents == share
        assert begun(tmp_path).limits == node.limits


def test_only_the_core_orders_and_only_for_this_node(tmp_path: Path) -> None:
    """An order for a sibling, by another key, with another text or no text at all changes nothing."""
    node = begun(tmp_path)
    genuine = order(share=100)
    forged = sign_order(
        StandinOrder(node_id="east", epoch=9, serial=9, version=9, limits=Limits()),
        generate_signing_key(),
    )
    for wrong in (
        order(node="west"),
        forged,
        SignedOrder(genuine.text.replace("100", "999"), genuine.signature),
        SignedOrder(genuine.text, "not base64"),
        SignedOrder("[]", genuine.signature),
    ):
        node.note(wrong)
        assert (node.limits, node.version) == (CONFIGURED, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_order_of_a_later_release_is_checked_as_it_was_signed(tmp_path: Path) -> None:
    """What this release does not know in it is left out, and the rest holds."""
    told = msgspec.json.decode(order().text)
    told["limits"]["something_new"] = 1
    text = msgspec.json.encode(told)
    signature = base64.b64encode(sign_bytes(CORE, b"ridethrough standin\n" + text)).decode()
    node = begun(tmp_path)
    node.note(SignedOrder(text.decode(), signature))
    assert (node.version, node.limits.per_payment_cents) == (1, 222)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff", b'{"text":"{}","signature":""}'])
def test_where_the_order_cannot_be_read_nothing_is_promised(tmp_path: Path, content: bytes) -> None:
    """The node's own file may allow more than the order did; the core's next word heals it."""
    begun(tmp_path).note(order())
    (tmp_path / "standin.json").write_bytes(content)
    node = begun(tmp_path)
    assert (node.limits, node.version) == (NOTHING, 0)
    assert node.holding(700) == Holding(OWN_FILE, 700)
    node.note(order(2, share=300))
    assert begun(tmp_path).limits.edge_outstanding_cents == 300


def test_what_cannot_be_written_down_holds_and_is_not_followed_yet(tmp_path: Path) -> None:
    """The core hears of the share that would hold after a restart, and tells the order until it is on the disk."""
    folder = tmp_path / "east"
    folder.mkdir()
    node = begun(folder)
    node.note(order(1, share=2000))
    folder.rename(tmp_path / "away")
    node.note(order(2, share=300))
    assert node.limits.edge_outstanding_cents == 300
    assert node.holding(0) == Holding(OrderPlace(1, 1), 2000)
    (tmp_path / "away").rename(folder)
    assert begun(folder).limits.edge_outstanding_cents == 2000
    node.note(order(2, share=300))
    assert node.holding(0) == Holding(OrderPlace(1, 2), 300)
    assert begun(folder).limits.edge_outstanding_cents == 300
