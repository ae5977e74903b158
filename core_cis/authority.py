"""
The fleet's certificate authority: made with the core's keys, and nobody else's.

It certifies nodes of this fleet and nothing more. It has no end of its own (RFC 5280, 4.1.2.5); the certificates do.
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from failover.node_config import NodeTls
from failover.node_tls import node_name

DAYS = 825
# Nodes' clocks may be behind: a certificate made just now is good for them too.
_BEHIND = timedelta(days=1)
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def make_authority() -> tuple[str, str]:
    """Make a new authority; returns its private key and its certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("Ridethrough fleet")
    certificate = (
        _unsigned(name, key.public_key(), name, key.public_key())
        .not_valid_before(_BEGINNING)
        .not_valid_after(_NO_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return _key_pem(key), certificate.public_bytes(Encoding.PEM).decode()


def issue_certificate(
    authority_key: str, authority: str, node_id: str, *, now: datetime, days: int = DAYS
) -> NodeTls:
    """
    Make a node's key and certificate, for calling and for being called.

    Args:
        authority_key: The authority's private key, PEM.
        authority: Its certificate, PEM.
        node_id: Whom the certificate is made out to.
        now: From when it is valid, less a day.
        days: For how long.
    """
    issuer = x509.load_pem_x509_certificate(authority.encode())
    issuer_key = load_pem_private_key(authority_key.encode(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey), "as `make_authority` makes it"
    key = ec.generate_private_key(ec.SECP256R1())
    name = node_name(node_id)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _unsigned(_named(name), key.public_key(), issuer.subject, issuer_key.public_key())
        .not_valid_before(now - _BEHIND)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(issuer_key, SHA256())
    )
    return NodeTls(
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
        private_key=_key_pem(key),
        authority=authority,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _unsigned(
    name: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
