"""What a node shows and checks: files for servers, one context for calls, and reasons that people understand."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core_cis.authority import issue_certificate, make_authority
from failover.errors import ConfigInvalid
from failover.node_config import NodeTls
from failover.node_tls import (
    client_context,
    link_to,
    node_name,
    node_of_certificate,
    read_expiry,
    server_files,
    tls_reason,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def tls() -> NodeTls:
    """Return a node's certificate."""
    return issue_certificate(*make_authority(), "east", now=NOW, days=10)


def test_a_context_is_made_once_and_checks_names(tls: NodeTls) -> None:
    """TLS 1.3, no authority but the fleet's."""
    context = client_context(tls)
    assert client_context(tls) is context
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert len(context.get_ca_certs()) == 1
    link = link_to(tls, "core")
    assert link is not None
    assert (link.context, link.name) == (context, "core.node.ridethrough.internal")
    assert link_to(None, "core") is None


@pytest.mark.parametrize("broken", ["certificate", "private_key", "authority"])
@pytest.mark.parametrize("content", ["", "no certificate", "ä"])
def test_what_cannot_be_used_is_named(tls: NodeTls, broken: str, content: str) -> None:
    """Without a word of the key."""
    with pytest.raises(ConfigInvalid, match="tls: certificate, key or authority"):
        client_context(msgspec.structs.replace(tls, **{broken: content}))


def test_servers_read_private_files(tls: NodeTls, tmp_path: Path) -> None:
    """Mode 0600 in a folder of their own, removed where nodes do without TLS again."""
    files = server_files(tmp_path, tls)
    assert files is not None
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert files.node.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in files.node.parent.iterdir()) == [
        "authority.pem",
        "node.pem",
    ]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.node)
    expiry = read_expiry(tmp_path)
    assert expiry is not None
    assert (expiry - NOW).days == 10
    assert server_files(tmp_path, None) is None
    assert read_expiry(tmp_path) is None
    assert not list(files.node.parent.iterdir())


def test_reasons_are_found_below_other_errors() -> None:
    """However deep a client wraps them; what is no failure of TLS has none."""
    deep = OSError("wrapped")
    deep.__cause__ = ssl.SSLError(1, "[SSL: X] x")
    assert tls_reason(deep) == "no tls"
    assert not tls_reason(OSError("refused"))


@pytest.mark.parametrize(
    ("certificate", "node_id"),
    [
        ({"subjectAltName": (("DNS", node_name("east")),)}, "east"),
        ({"subjectAltName": (("DNS", "east.example"), ("email", node_name("west")))}, ""),
        ({"subjectAltName": (("DNS", f"a.{node_name('east')}"),)}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_only_a_nodes_certificate_names_a_node(
    certificate: dict[str, Any] | None, node_id: str
) -> None:
    """Whatever else one might be made out to."""
    assert node_of_certificate(certificate) == node_id
