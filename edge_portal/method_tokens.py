"""Tokens of saved methods, for the agent of an edge that may charge them."""

from cache_sync.errors import SyncError
from edge_portal.errors import EdgeError
from edge_portal.held_snapshots import HeldSnapshots
from edge_portal.snapshot import read_account
from failover.token_seal import TokenSeal


class MethodTokens:
    """Finds tokens in the snapshot, where the core published them sealed for this edge."""

    def __init__(self, held: HeldSnapshots, token_key: str) -> None:
        self._held = held
        self._seal = TokenSeal(token_key)

    def find(self, account_id: str, method_id: str) -> str | None:
        """Find the token of a verified method; None where it is not to be charged here, or cannot be read."""
        try:
            with self._held.read(account_id) as reading:
                account = read_account(reading, account_id)
        except (SyncError, EdgeError):
            return None
        for method in account.payment_methods if account is not None else ():
            sealed = method.sealed_token
            usable = method.method_id == method_id and method.status == "verified"
            if usable and isinstance(sealed, str):
                return self._seal.open(sealed, account_id=account_id, method_id=method_id)
        return None
