"""The fleet's authority: what it certifies nodes, and nobody else, believe."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from core_cis.authority import DAYS, issue_certificate, make_authority
from core_cis.keys import FILE_NAME, load_keys, write_private
from failover.node_tls import node_name

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEY, AUTHORITY = make_authority()


def certificate(**changes: int) -> x509.Certificate:
    """Issue one to `east`."""
    made = issue_certificate(KEY, AUTHORITY, "east", now=NOW, **changes)
    return x509.load_pem_x509_certificate(made.certificate.encode())


def verify(made: x509.Certificate, authority: str, name: str, at: datetime) -> None:
    """Check a server's certificate as RFC 5280 asks."""
    trusted = Store([x509.load_pem_x509_certificate(authority.encode())])
    verifier = PolicyBuilder().store(trusted).time(at).build_server_verifier(x509.DNSName(name))
    verifier.verify(made, [])


def test_a_certificate_is_good_for_its_node_alone() -> None:
    """For calling and being called, and not to certify others with."""
    made = certificate()
    verify(made, AUTHORITY, node_name("east"), NOW)
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("name", "authority", "days"),
    [
        ("west", AUTHORITY, 0),
        ("core", AUTHORITY, 0),
        ("east", make_authority()[1], 0),
        ("east", AUTHORITY, DAYS + 1),
        ("east", AUTHORITY, -2),
    ],
)
def test_and_for_nothing_else(name: str, authority: str, days: int) -> None:
    """Another name, another authority, too late, too early."""
    with pytest.raises(VerificationError):
        verify(certificate(), authority, node_name(name), NOW + timedelta(days=days))


def test_every_certificate_has_a_key_of_its_own() -> None:
    """Renewing one leaves nothing of the one before."""
    first, second = certificate(), certificate()
    assert first.public_key() != second.public_key()
    assert first.serial_number != second.serial_number


def test_a_core_keeps_one_authority(tmp_path: Path) -> None:
    """Made with the other keys, and added to those of an older release."""
    keys = load_keys(tmp_path)
    made = keys.certify("east", NOW)
    assert made.authority == keys.authority
    loaded = x509.load_pem_x509_certificate(made.certificate.encode())
    verify(loaded, load_keys(tmp_path).authority, node_name("east"), NOW)
    text = (tmp_path / FILE_NAME).read_bytes()
    older = b",".join(line for line in text.split(b",") if b'"authority' not in line).rstrip(
        b"}\n "
    )
    write_private(tmp_path / FILE_NAME, older + b"}")
    again = load_keys(tmp_path)
    assert again.operator_token == keys.operator_token
    assert again.authority not in {"", keys.authority}
