"""
What can go wrong at an edge, as pages and API tell it.

```
EdgeError
├── ConfigError              the configuration file or data folder cannot be used
│   └── WrongFileKeys        files there are under other keys than were given
├── NoSnapshot               nothing was ever copied from the core: not ready
├── NotSignedIn              no token, or it is forged, expired or revoked
├── SignInError
│   ├── WrongCredentials     unknown e-mail or wrong password, never told apart
│   ├── SignInBusy           the bounded pool is full; retry_after_seconds
│   └── SignInThrottled      too many wrong attempts; retry_after_seconds
├── NotHeldHere              the account is in a shard that other nodes hold
├── NotFound                 no such account, statement or payment for this customer
├── AgentSilent              (agent_link) the one process that records payments gave no answer
├── ArchiveUnavailable       the core cannot be asked right now; what is held goes on
└── PaymentError             of payments and messages (intent_id when one was derived)
    ├── InvalidPayment       field and rule; nothing was recorded
    ├── InvalidMessage       likewise, of what is not a payment
    ├── KeyReused            another amount or method under the same key
    ├── OverLimit            over a stand-in limit while the core cannot be asked
    ├── NotTaken             nothing was taken here: repeat with the same key
    └── PaymentUnknown       the outcome is not known: repeat with the same key
```
"""

from typing import Literal


class EdgeError(Exception):
    """Any failure of the portal that has a plain sentence for the customer."""


class ConfigError(EdgeError):
    """The configuration or the data folder cannot be used; the message says why."""


class WrongFileKeys(ConfigError):
    """A file of the data folder is under a key that was not given, or plain although one was; nothing was changed."""


class NoSnapshot(EdgeError):
    """This edge never received a snapshot and has nothing to show."""


class NotSignedIn(EdgeError):
    """
    No valid session.

    ``reason`` tells an operator's counter, never the customer, what was wrong with the token.
    """

    def __init__(self, reason: Literal["missing", "forged", "expired", "revoked"]) -> None:
        super().__init__(reason)
        self.reason = reason


class SignInError(EdgeError):
    """A sign-in that did not succeed."""


class WrongCredentials(SignInError):
    """The e-mail address is unknown or the password is wrong; which of the two is not told."""


class SignInBusy(SignInError):
    """Too many sign-ins are being checked right now."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"sign-in is busy, try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class SignInThrottled(SignInError):
    """Too many wrong attempts with this address from this client; delayed, never locked."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"wait {retry_after_seconds} s before the next attempt")
        self.retry_after_seconds = retry_after_seconds


class NotFound(EdgeError):
    """What was asked for does not exist for this customer; another customer's things do not exist either."""


class NotHeldHere(EdgeError):
    """This node does not hold the shard that an account is in: another node does."""

    def __init__(self, shard: str = "") -> None:
        super().__init__(f"shard {shard} is not held here" if shard else "not held here")
        self.shard = shard


class ArchiveUnavailable(EdgeError):
    """An archive read got no answer from the core within its deadline, or was not tried."""


class PaymentError(EdgeError):
    """A payment or message that has no receipt to show; ``intent_id`` names it once it was derived."""

    def __init__(self, message: str, *, intent_id: str | None = None) -> None:
        super().__init__(message)
        self.intent_id = intent_id


class InvalidPayment(PaymentError):
    """``field`` (``amount``, ``method_id``, ``idempotency_key``) breaks ``rule``; nothing was recorded."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class InvalidMessage(PaymentError):
    """``field`` breaks ``rule``; nothing was recorded. ``reason`` is a stable code for the rule, for words."""

    def __init__(self, field: str, rule: str, *, reason: str = "") -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule
        self.reason = reason


class KeyReused(PaymentError):
    """The idempotency key was used before for something else."""


class OverLimit(PaymentError):
    """
    A stand-in limit is exceeded while billing is away; nothing was taken.

    ``which`` names the limit as `failover.standin.Exceeded` does.
    """

    def __init__(self, which: str, message: str, *, intent_id: str | None = None) -> None:
        super().__init__(message, intent_id=intent_id)
        self.which = which


class NotTaken(PaymentError):
    """Nothing was taken here and nothing will be: repeat with the same key, here or at another edge."""


class PaymentUnknown(PaymentError):
    """Whether the payment was taken is not known; repeating with the same key is safe and tells."""
