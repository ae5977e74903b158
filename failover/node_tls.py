"""
TLS between nodes: both ends show a certificate of the fleet's own authority.

What is checked of the node that is called is its *name*, never its address: proxies and moves do not matter, and a
sibling's certificate does not pass for the core's. Who calls is proven by its certificate and by its secret in the
header: both must be of the same node.
"""

import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509

from failover.errors import ConfigInvalid
from failover.node_config import NodeTls

FOLDER_NAME: Final = "tls"
_DOMAIN: Final = "node.ridethrough.internal"
_NODE_FILE: Final = "node.pem"
_AUTHORITY_FILE: Final = "authority.pem"


class TlsLink(NamedTuple):
    """What one node is called with: our certificate and whom we trust, and the name that it must prove."""

    context: ssl.SSLContext
    name: str


class TlsFiles(NamedTuple):
    """Where a server finds its certificate and key (one file), and the authority that callers must be certified by."""

    node: Path
    authority: Path


def node_name(node_id: str) -> str:
    """Return the name that a node's certificate is made out to; it is never resolved."""
    return f"{node_id}.{_DOMAIN}"


def node_of_certificate(certificate: Mapping[str, Any] | None) -> str:
    """Tell the node that a verified certificate (as Python's ``getpeercert``) is made out to; empty when it is none."""
    for kind, name in (certificate or {}).get("subjectAltName", ()):
        node_id, dot, domain = name.partition(".")
        if (kind, dot, domain) == ("DNS", ".", _DOMAIN):
            return str(node_id)
    return ""


def link_to(tls: NodeTls | None, node_id: str) -> TlsLink | None:
    """
    Return what a node is called with; None where this fleet does without TLS.

    Raises:
        ConfigInvalid: The certificate, the key or the authority cannot be used.
    """
    return None if tls is None else TlsLink(client_context(tls), node_name(node_id))


@lru_cache(maxsize=8)
def client_context(tls: NodeTls) -> ssl.SSLContext:
    """
    Make the context for calls of other nodes, once a process: TLS 1.3, the fleet's authority and no other.

    Raises:
        ConfigInvalid: The certificate, the key or the authority cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The library takes certificates from files only; this one is in memory.
    handle = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(handle, _chain(tls))
        context.load_verify_locations(cadata=tls.authority)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    except (ssl.SSLError, TypeError, ValueError) as error:
        raise ConfigInvalid(
            f"tls: certificate, key or authority: {type(error).__name__}"
        ) from error
    finally:
        os.close(handle)
    return context


def server_files(data: Path, tls: NodeTls | None) -> TlsFiles | None:
    """Write down what a server reads from files, if it speaks TLS; otherwise remove what it once read."""
    if tls is not None:
        return write_server_files(data, tls)
    for name in (_NODE_FILE, _AUTHORITY_FILE):
        (data / FOLDER_NAME / name).unlink(missing_ok=True)
    return None


def write_server_files(data: Path, tls: NodeTls) -> TlsFiles:
    """Write down what a server reads from files, for its owner alone; each file whole or not at all."""
    folder = data / FOLDER_NAME
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = TlsFiles(folder / _NODE_FILE, folder / _AUTHORITY_FILE)
    for path, content in ((files.node, _chain(tls)), (files.authority, tls.authority.encode())):
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        beside.replace(path)
    return files


def read_expiry(data: Path) -> datetime | None:
    """Tell until when the certificate in a node's folder is valid; None where there is none that can be read."""
    try:
        return expires_at((data / FOLDER_NAME / _NODE_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def expires_at(certificate: str) -> datetime:
    """Tell until when a certificate (PEM) is valid. Raises ValueError when it is none."""
    loaded = x509.load_pem_x509_certificate(certificate.encode("ascii"))
    return loaded.not_valid_after_utc.astimezone(UTC)


def tls_reason(error: BaseException) -> str:
    """Tell why TLS failed, from an error or what it was caused by, in OpenSSL's words; empty when TLS did not."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message.rstrip(".")
        if isinstance(seen, ssl.SSLError):
            return (getattr(seen, "reason", None) or "no TLS").lower().replace("_", " ")
        seen = seen.__cause__ or seen.__context__
    return ""


def _chain(tls: NodeTls) -> bytes:
    return f"{tls.certificate.strip()}\n{tls.private_key.strip()}\n".encode()
