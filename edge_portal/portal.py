"""
Everything a page or an API route may ask for: one instance per worker, at ``app.state.portal``.

Reads are answered from the local snapshot, the journal and the mode lease, in every mode alike; only `pay`,
`payment` and `archived_statement` ask another process.
"""

from cache_sync.documents import StatementBody
from cache_sync.frames import Position
from edge_portal.session import Session
from edge_portal.views import AccountView, ModeView
from failover.intents import Receipt


class Portal:
    """Request-time services of a worker. Errors are those of `edge_portal.errors`."""

    def authenticate(self, token: str | None) -> Session:
        """Check a token. Raises `NotSignedIn`; `NoSnapshot`."""
        raise NotImplementedError

    async def sign_in(self, email: str, password: str, client_id: str) -> str:
        """
        Check an e-mail and password against the snapshot and issue a token, valid at every edge.

        ``client_id`` is what attempts are throttled by beside the address (the peer's IP address).
        Raises `WrongCredentials`, `SignInBusy`, `SignInThrottled`, `NoSnapshot`.
        """
        raise NotImplementedError

    def switch_account(self, session: Session, account_id: str) -> str:
        """Issue a token that looks at another of the customer's accounts. Raises `NotFound`."""
        raise NotImplementedError

    def renew(self, session: Session) -> str:
        """Issue a token with a fresh expiry for the same session."""
        raise NotImplementedError

    def read_position(self, text: str) -> Position | None:
        """Read a position cookie; None when this installation did not write it."""
        raise NotImplementedError

    def write_position(self, position: Position) -> str:
        """Write a position as a signed cookie value."""
        raise NotImplementedError

    def mode(self) -> ModeView:
        """Tell the node's mode; for pages without an account (sign-in, status)."""
        raise NotImplementedError

    def view(self, account_id: str, seen: Position | None) -> AccountView:
        """
        Show an account as this node knows it, from one read transaction.

        ``seen`` is the position the customer already saw (cookie or header). Raises `NotFound`, `NoSnapshot`.
        """
        raise NotImplementedError

    async def pay(
        self, account_id: str, *, idempotency_key: str, amount_cents: int, method_id: str
    ) -> Receipt:
        """
        Record, copy and submit a payment; answers at the core's outcome or after at most about a second.

        Safe to repeat with the same key: the first receipt comes back. Raises `InvalidPayment`, `KeyReused`,
        `OverLimit`, `NotTaken`, `PaymentUnknown`, `NoSnapshot`.
        """
        raise NotImplementedError

    async def payment(self, account_id: str, intent_id: str) -> Receipt:
        """
        Tell what is known of a payment, at this node or a sibling.

        Raises `NotFound` when no node asked knows it.
        """
        raise NotImplementedError

    async def archived_statement(self, account_id: str, statement_id: str) -> StatementBody:
        """
        Ask the core for a statement older than what is held here, within 250 ms.

        Raises `ArchiveUnavailable`, `NotFound`.
        """
        raise NotImplementedError

    def new_form_key(self, account_id: str) -> str:
        """Make the signed key of a payment form: shown with the form, posted back with it."""
        raise NotImplementedError

    def check_form_key(self, account_id: str, key: str) -> str | None:
        """Return the idempotency key inside a form key; None when it was not made for this account."""
        raise NotImplementedError
