"""
What can go wrong on the way of an intent.

    FailoverError
    ├── NodeError              a call to another node did not bring an answer that helps
    │   ├── NotSent            nothing left this node: it was certainly not done
    │   ├── Ambiguous          something left this node: ask again with the same id
    │   ├── Overloaded         the node answered that it is too busy (429, 503)
    │   └── NodeRefused        the node answered that the request is wrong (other 4xx)
    ├── BreakerOpen            the call was not made
    ├── JournalError
    │   ├── JournalFenced      a commit failed or is unknown: nothing is acknowledged
    │   ├── JournalFull        no room; nothing was recorded
    │   └── IllegalTransition  an event that cannot be in this state: a fault of ours, nothing was changed
    ├── SubmissionError        how an attempt to pay ended without a receipt
    │   ├── InvalidPayment
    │   ├── KeyReused          same key, other content
    │   ├── OverLimit          a stand-in limit; ends the attempt at this edge only
    │   ├── NotTaken           not done and nobody was asked: the same key may be tried again
    │   └── OutcomeUnknown     may or may not have been taken: repeat with the same key
    └── ConfigInvalid          a node's configuration file cannot be used
"""

import traceback

_LOGGED_FRAMES = 6


class FailoverError(Exception):
    """Root of everything that this folder raises on purpose."""


class NodeError(FailoverError):
    """A call to another node did not bring an answer that helps."""


class NotSent(NodeError):
    """No byte left this node (the connection could not be made): the request was certainly not handled."""


class Ambiguous(NodeError):
    """At least one byte left this node and no usable answer came back: it may have been handled."""


class AnswerTooLarge(Ambiguous):
    """The answer is longer than any of its kind; it was not read to its end."""


class Overloaded(NodeError):
    """
    The node is alive and asks for less (429 or 503).

    ``retry_after`` is in seconds, None where the node did not say; ``slug`` names its problem type, for people: a
    restored core answers so too.
    """

    def __init__(self, retry_after: float | None = None, slug: str = "") -> None:
        super().__init__(
            f"the node takes nothing now: {slug}" if slug else "the node is overloaded"
        )
        self.retry_after = retry_after
        self.slug = slug


class NodeRefused(NodeError):
    """The node is alive and refuses this request (another 4xx); ``slug`` names its problem type."""

    def __init__(self, status: int, slug: str = "") -> None:
        super().__init__(f"refused with {status} {slug}".rstrip())
        self.status = status
        self.slug = slug


class BreakerOpen(FailoverError):
    """The breaker did not let the call out: it was certainly not made."""


class JournalError(FailoverError):
    """The journal did not take a change."""


class JournalFenced(JournalError):
    """
    A commit failed; until the journal was reopened and verified nothing is acknowledged.

    ``uncertain`` says that the very change may have been committed; otherwise it certainly was not.
    """

    def __init__(self, *, uncertain: bool) -> None:
        super().__init__(
            "the journal is fenced" + (" and this change may be in it" if uncertain else "")
        )
        self.uncertain = uncertain


class JournalFull(JournalError):
    """The journal or its disk has no room left; nothing was recorded."""


class IllegalTransition(JournalError):
    """
    An event that cannot come in the state in which an intent is; nothing was changed.

    ``machine`` names whose states they are; see `failover.intent_states`.
    """

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: no {event} where it is {state}")
        self.machine = machine
        self.state = state
        self.event = event


class SubmissionError(FailoverError):
    """An attempt to pay ended without a receipt."""


class InvalidPayment(SubmissionError):
    """``field`` breaks ``rule``; nothing was recorded."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class KeyReused(SubmissionError):
    """The idempotency key already names a payment with other content."""


class OverLimit(SubmissionError):
    """A stand-in limit stands in the way while the core is away; ``which`` names it as in `standin.Exceeded`."""

    def __init__(self, which: str) -> None:
        super().__init__(f"over the stand-in limit {which}")
        self.which = which


class NotTaken(SubmissionError):
    """Nobody was asked to do it and nothing will be done; the same key may be sent again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutcomeUnknown(SubmissionError):
    """It may or may not have been taken; repeating with the same key finds out and never pays twice."""


class ConfigInvalid(FailoverError):
    """A node's configuration file is missing, unreadable or does not say what it must."""


def where(error: BaseException) -> list[str]:
    """
    Tell where an error came from, for logs: the innermost frames, without messages and variables.

    Both may hold what belongs to customers.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_LOGGED_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
