"""What all pages of an installation share: whose portal it is and whom to call."""

from typing import Any

import msgspec
from litestar import Request


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """
    The utility that a portal belongs to; set once as ``app.state.site``.

    ``timezone`` and ``currency`` serve pages that show no account, an account brings its own. ``utility_phone`` is
    written as people dial it; empty: no page speaks of calling. ``retention_months`` is for words only: bills older
    than that are asked of the core.
    """

    utility_name: str
    utility_phone: str
    timezone: str
    currency: str
    retention_months: int

    @property
    def phone_link(self) -> str:
        """The number as a ``tel:`` address: digits with a country code, the United States' where none is given."""
        digits = "".join(filter(str.isdigit, self.utility_phone))
        named = self.utility_phone.lstrip().startswith("+") or digits.startswith("1")
        return f"tel:+{digits}" if named else f"tel:+1{digits}"

    @property
    def name_parts(self) -> tuple[str, str]:
        """The name's first word and the rest, for the mark."""
        first, _, rest = self.utility_name.partition(" ")
        return first, rest


def site_of(request: Request[Any, Any, Any]) -> Site:
    """Return the installation's site."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site
