"""What the core knows of an account when something is asked of it."""

from typing import Literal

import msgspec

from cache_sync.documents import MethodStatus

AccountStatus = Literal["active", "closed"]


class Method(msgspec.Struct, frozen=True):
    """A saved way to pay: its public name, how it is shown, whether it may be used."""

    method_id: str
    label: str
    status: MethodStatus


class AccountFacts(msgspec.Struct, frozen=True):
    """An account's standing: whether it is open, in which currency it is kept, how it may pay."""

    account_id: str
    status: AccountStatus
    currency: str
    methods: tuple[Method, ...] = ()

    def method(self, method_id: str) -> Method | None:
        """Find one of this account's own methods; None for any other account's."""
        return next((method for method in self.methods if method.method_id == method_id), None)
