"""Telling edges what the oldest kept backup covers, signed once for all of them."""

from core_cis.keys import CoreKeys
from failover.covers import Cover, Following, sign_cover
from failover.signed_orders import SignedOrder


class CoverDesk:
    """Remembers the cover that was signed last; one instance in a running core."""

    def __init__(self) -> None:
        self._signed: tuple[Cover, SignedOrder] | None = None

    def tell(self, cover: Cover | None, following: Following, keys: CoreKeys) -> SignedOrder | None:
        """Return what an edge has to be told; None where there is no cover, or it knows this one."""
        if cover is None or cover.mark == following.held:
            return None
        if self._signed is None or self._signed[0] != cover:
            self._signed = (cover, sign_cover(cover, keys.signing_key))
        return self._signed[1]
