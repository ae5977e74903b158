"""A reconciliation that the core answers for: signed with its Ed25519 key over everything that it says."""

import base64
import binascii

import msgspec

from core_cis.keys import CoreKeys
from core_cis.reconciliation import Report
from failover.signing import is_signed, sign_bytes


def sign_report(report: Report, keys: CoreKeys) -> Report:
    """Return the report with the core's signature, base64."""
    signature = sign_bytes(keys.signing_key, _signed_bytes(report))
    return msgspec.structs.replace(report, signature=base64.b64encode(signature).decode())


def is_signed_report(report: Report, public_key: str) -> bool:
    """Tell whether the core of a public key (base64) made this report, and nobody changed it."""
    try:
        signature = base64.b64decode(report.signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return is_signed(_signed_bytes(report), signature, public_key)


def _signed_bytes(report: Report) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(report, signature=""))
