"""What a customer may be reached by: the same for the edge that takes a change and the core that decides. Pure."""

import re
from typing import Literal

from failover.message_bodies import ContactChange

ContactProblem = Literal["nothing_changed", "email_invalid", "phone_invalid"]

EMAIL_LENGTH_MAX = 254
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+", re.ASCII)
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{5,22}[0-9]", re.ASCII)


def problem_of_contact(change: ContactChange) -> ContactProblem | None:
    """
    Say why a change cannot be; None when it can.

    An address has an at sign and a point after it, a phone number 7 to 24 digits and what parts them. Whether they
    reach anybody only a message to them can tell.
    """
    if change.email is None and change.phone is None:
        return "nothing_changed"
    if change.email is not None and not _is_email(change.email):
        return "email_invalid"
    if change.phone is not None and not _PHONE.fullmatch(change.phone):
        return "phone_invalid"
    return None


def _is_email(text: str) -> bool:
    return len(text) <= EMAIL_LENGTH_MAX and _EMAIL.fullmatch(text) is not None
