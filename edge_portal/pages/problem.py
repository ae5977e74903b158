"""Why a form was not taken, as its page shows it."""

from typing import Literal

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why a form was not taken.

    ``field`` is the input's id to go to, empty when it is about none; ``call`` offers to pay more, or to pay now, by
    phone.
    """

    field: str
    told: str
    link: str = ""
    address: str = ""
    call: Literal["", "more", "now"] = ""
