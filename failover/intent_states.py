"""
What may become of an intent at a node: every state, every event, and what each does to each.

The one place that knows. Journal, reader and tables take their words from here, the page `docs/intent-states.md` is
printed from it (`python -m failover.intent_states_page`), and a test holds the real journal against it.

There are three machines. An intent that this node *recorded*; the *copy* of a sibling's that it holds; and, beside the
former, the *charge* of a payment that this node captures itself. Each event either moves a state, or comes too late and
leaves it as it is (a return value tells), or cannot be: then something is wrong with us, and it raises.
"""

from collections.abc import Iterable
from itertools import product
from typing import Final, Generic, Literal, NamedTuple, TypeVar, cast

from failover.errors import IllegalTransition

Absent = Literal["absent"]
OwnState = Literal["recorded", "offered", "settled", "void", "pruned"]
CopyState = Literal["offered", "settled", "pruned"]
ChargeState = Literal["waiting", "attempting", "owed", "ended"]

ABSENT: Final[Absent] = "absent"
"""Where nothing is known of the intent at all."""

_S = TypeVar("_S", bound=str)


class Move(NamedTuple):
    """
    An event that changes a state.

    ``who`` may cause it; ``durable`` is what is on the disk (FULL) before ``answer``, what the customer is told then.
    """

    event: str
    sources: tuple[str, ...]
    target: str
    who: str
    durable: str
    answer: str


class Machine(Generic[_S]):
    """
    One machine: its states, its moves, and the pairs of state and event that change nothing.

    Args:
        name: Whose states they are, for people.
        states: All of them, but for `ABSENT`, in the order in which they are told of.
        moves: All that change a state.
        without_effect: By event, the states in which it comes too late, or finds nothing, and changes nothing.
    """

    def __init__(
        self,
        name: str,
        states: tuple[_S, ...],
        moves: tuple[Move, ...],
        without_effect: dict[str, tuple[str, ...]],
    ) -> None:
        self.name = name
        self.states = states
        self.moves = moves
        self.events = tuple(dict.fromkeys(move.event for move in moves))
        self._after: dict[tuple[str, str], _S | Absent] = {}
        for event, sources, target in (
            *((move.event, move.sources, move.target) for move in moves),
            *(
                (event, (state,), state)
                for event, those in without_effect.items()
                for state in those
            ),
        ):
            for source in sources:
                assert (source, event) not in self._after, "a pair is told of once"
                self._after[source, event] = cast("_S | Absent", target)
        assert self._after.keys() <= set(product((ABSENT, *states), self.events)), (
            "known words only"
        )

    def after(self, state: str, event: str) -> _S | Absent:
        """
        Return the state after an event: the same one where it has no effect.

        Raises:
            IllegalTransition: It cannot come in this state.
        """
        try:
            return self._after[state, event]
        except KeyError:
            raise IllegalTransition(self.name, state, event) from None

    def moves_from(self, event: str) -> tuple[str, ...]:
        """Return the states that an event moves, in their order."""
        return tuple(
            state
            for state in (ABSENT, *self.states)
            if any(move.event == event and state in move.sources for move in self.moves)
        )

    def target(self, event: str) -> _S:
        """Return where an event leads."""
        (found,) = {move.target for move in self.moves if move.event == event}
        return cast("_S", found)


def sql_words(words: Iterable[str]) -> str:
    """Write states as a list for ``IN``; they are ours, and hold no quotes."""
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


_RENEW: Final = Move(
    "renew",
    ("settled",),
    "settled",
    "the core alone, in a later epoch, of the same intent",
    "the outcome of the later epoch",
    "what the core says now",
)

_PRUNE: Final = Move(
    "prune",
    ("settled",),
    "pruned",
    "the agent, told by the core of a backup that covers the outcome and that operators keep",
    "its day's sums and what is told of it, with the row's end",
    "the same outcome",
)

OWN: Final = Machine[OwnState](
    "recorded here",
    ("recorded", "offered", "settled", "void", "pruned"),
    (
        Move(
            "record",
            (ABSENT,),
            "recorded",
            "the agent, for a customer who was signed in",
            "intent, signature, reservation",
            "nothing yet",
        ),
        Move(
            "record_and_offer",
            (ABSENT,),
            "offered",
            "the agent, for a customer who was signed in",
            "intent, signature, reservation, and whom it is about to be offered to",
            "nothing yet",
        ),
        Move(
            "offer",
            ("recorded", "offered"),
            "offered",
            "the agent, before the first byte to the core or one more witness leaves",
            "whom it is about to be offered to",
            "`checking`",
        ),
        Move(
            "confirm",
            ("offered",),
            "offered",
            "a witness, which has committed its copy",
            "the copy, at the witness; the note of it here is made again by asking again",
            "`accepted`",
        ),
        Move(
            "void",
            ("recorded", "offered"),
            "void",
            "the agent, knowing that no byte left and no witness confirmed",
            "that it is void; the reservation is given back",
            "not taken here, repeat with the same key (503)",
        ),
        Move(
            "settle",
            ("recorded", "offered"),
            "settled",
            "the core alone: an outcome with its signature, whoever brings it",
            "the outcome; the reservation is given back; holders are owed the news",
            "`posted`, `rejected`, `dead_letter` or `cancelled`",
        ),
        _RENEW,
        Move(
            "restart",
            ("recorded",),
            "void",
            "the journal as it is opened: what was never offered was never answered either",
            "that it is void",
            "not taken here, repeat with the same key (503)",
        ),
        _PRUNE,
    ),
    without_effect={
        "record": ("recorded", "offered", "settled", "pruned"),
        "record_and_offer": ("recorded", "offered", "settled", "pruned"),
        "offer": ("settled", "void", "pruned"),
        "confirm": ("settled", "void", "pruned"),
        "void": ("settled", "void", "pruned"),
        "settle": (ABSENT, "settled", "void", "pruned"),
        "renew": (ABSENT, "recorded", "offered", "void", "pruned"),
        "restart": ("offered", "settled", "void", "pruned"),
        "prune": (ABSENT, "recorded", "offered", "void", "pruned"),
    },
)
"""
A void attempt binds neither id nor fingerprint: the same key again is recorded anew, in a row of its own. Its row is
dropped after some time, and nothing is told of it any more.
"""

COPY: Final = Machine[CopyState](
    "held for a sibling",
    ("offered", "settled", "pruned"),
    (
        Move(
            "keep",
            (ABSENT,),
            "offered",
            "the writer: a registered sibling, by its signature over the intent",
            "the copy; its being here is the acceptance",
            "`accepted`, at the writer, once this node has said so",
        ),
        Move(
            "settle",
            ("offered",),
            "settled",
            "the core alone: an outcome with its signature, whoever brings it",
            "the outcome",
            "`posted`, `rejected`, `dead_letter` or `cancelled`",
        ),
        _RENEW,
        _PRUNE,
    ),
    without_effect={
        "keep": ("offered", "settled", "pruned"),
        "settle": (ABSENT, "settled", "pruned"),
        "renew": (ABSENT, "offered", "pruned"),
        "prune": (ABSENT, "offered", "pruned"),
    },
)

CHARGE: Final = Machine[ChargeState](
    "charged here",
    ("waiting", "attempting", "owed", "ended"),
    (
        Move(
            "add",
            (ABSENT,),
            "waiting",
            "the agent, with the payment's recording",
            "that it is to be captured",
            "nothing yet",
        ),
        Move(
            "attempt",
            ("waiting",),
            "attempting",
            "the agent, after a witness holds the payment, before the processor is called",
            "when it is called, with the intent's id as the processor's key",
            "`checking`: do not pay again",
        ),
        Move(
            "answer",
            ("waiting", "attempting"),
            "ended",
            "the processor, or who asked it by the key",
            "the answer, in the intent, signed anew",
            "`accepted` where it was charged, else why not",
        ),
        Move(
            "answer_too_late",
            ("waiting", "attempting"),
            "owed",
            "the processor: it charged what the core had refused meanwhile",
            "the answer, in the intent, signed anew",
            "`rejected`; the money is given back",
        ),
        Move(
            "tell",
            ("owed",),
            "ended",
            "the core, which has heard of the charge",
            "that it knows",
            "`rejected`; the money is given back",
        ),
    ),
    without_effect={
        "attempt": ("attempting", "owed", "ended"),
        "answer": ("owed", "ended"),
        "answer_too_late": ("owed", "ended"),
        "tell": (ABSENT, "waiting", "attempting", "ended"),
    },
)

MACHINES: Final = (OWN, COPY, CHARGE)

UNDECIDED: Final = frozenset({*OWN.moves_from("settle"), *COPY.moves_from("settle")})
"""The states of what waits for the core."""

# Conditions for SQL. SQLite uses a partial index only for a condition in the words that the index was made with, so
# tables and queries have both from here.
VOID: Final = OWN.target("void")
OFFERED: Final = OWN.target("offer")
OWN_UNDECIDED: Final = f"state IN {sql_words(OWN.moves_from('settle'))}"
IS_VOID: Final = f"state = '{VOID}'"
OWN_LIVING: Final = f"state <> '{VOID}'"
OWN_OFFERED: Final = f"state = '{OFFERED}'"
NEVER_OFFERED: Final = f"state IN {sql_words(OWN.moves_from('restart'))}"
COPY_UNDECIDED: Final = f"state = '{COPY.target('keep')}'"
SETTLED: Final = f"state = '{OWN.target('settle')}'"
CHARGE_UNANSWERED: Final = f"state IN {sql_words(CHARGE.moves_from('answer'))}"
CHARGE_OWED: Final = f"state = '{CHARGE.target('answer_too_late')}'"
CHARGE_OPEN: Final = f"state <> '{CHARGE.target('answer')}'"
