"""Plain HTTP is for one machine: every other address is refused, by field and rule."""

import msgspec
import pytest

from failover.errors import ConfigInvalid
from failover.node_addresses import check_addresses, check_node_url, is_loopback
from failover.node_config import NodeTls
from tests.unit.failover.test_node_config import CONFIG

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused
TLS = NodeTls(certificate="c", private_key="k", authority="a")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("", False),
     (EVERYWHERE, False), ("10.0.0.1", False), ("::", False), ("core", False),
     ("east.localhost", False), ("127.0.0.1.evil.example", False)],
)  # fmt: skip
def test_what_is_this_machine(host: str, *, loopback: bool) -> None:
    """Names are not looked up: whoever answers for them decides where they lead."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://core.example:8100"]
)
def test_what_is_taken(url: str) -> None:
    """Plainly on this machine, over TLS anywhere."""
    check_node_url("peer_url", url)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://10.0.0.1:1", "peer_url: beyond this machine nodes must be reached over https"),
        ("http://core", "peer_url: beyond this machine"),
        ("core:8100", "peer_url: must be http://HOST:PORT"),
        ("https://", "peer_url: must be http://HOST:PORT"),
        ("https://core:x", "peer_url: not an address"),
        ("", "peer_url: must be"),
    ],
)
def test_what_is_refused(url: str, rule: str) -> None:
    """With the field and the rule, and never the address."""
    with pytest.raises(ConfigInvalid, match=rule):
        check_node_url("peer_url", url)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"core_url": "https://127.0.0.1:1"}, "core_url: https needs a certificate"),
        ({"host": EVERYWHERE}, "host: beyond this machine"),
        ({"core_url": "http://core"}, "core_url: beyond this machine"),
        ({"tls": TLS}, "core_url: must be https too"),
        ({"tls": TLS, "core_url": "https://core"}, "peers.west.url: must be https too"),
    ],
)
def test_all_speak_tls_or_none(changes: dict[str, object], rule: str) -> None:
    """A node that speaks it with some only would show its secret to the others in the clear."""
    check_addresses(CONFIG)
    with pytest.raises(ConfigInvalid, match=rule):
        check_addresses(msgspec.structs.replace(CONFIG, **changes))
