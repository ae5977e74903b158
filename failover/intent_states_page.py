"""
The page `docs/intent-states.md`, printed from `failover.intent_states`: ``python -m failover.intent_states_page``.

A test holds the page against what is printed, so that it never tells of another machine than the one that runs.
"""

import sys
from collections.abc import Iterator
from typing import Any

from failover.errors import IllegalTransition
from failover.intent_states import ABSENT, MACHINES, Machine

_INTRODUCTION = """\
# States of an intent

Printed by `python -m failover.intent_states_page` from the table that the journal runs by; not to be edited. What a
crash leaves at each step, and what a customer is told then, is in [payments.md](payments.md).

Whatever an event does is one change of the journal, in one transaction: *durable first* is on the disk, flushed, before
anything else follows from it. An event without effect came too late, or found nothing; one that cannot be is refused
as an `IllegalTransition`: it would be a fault of ours.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([_INTRODUCTION, *(line for each in MACHINES for line in _machine(each))])


def _machine(machine: Machine[Any]) -> Iterator[str]:
    yield f"## {machine.name.capitalize()}"
    yield ""
    yield "```mermaid"
    yield "stateDiagram-v2"
    for move in machine.moves:
        for source in move.sources:
            yield f"    {_node(source)} --> {_node(move.target)}: {move.event}"
    yield from (f"    {state} --> [*]" for state in machine.states if _is_last(machine, state))
    yield "```"
    yield ""
    yield "| event | from | to | who may | durable first | answered then |"
    yield "|---|---|---|---|---|---|"
    for move in machine.moves:
        sources = ", ".join(f"`{source}`" for source in move.sources)
        yield (
            f"| `{move.event}` | {sources} | `{move.target}` | {move.who} | {move.durable} | {move.answer} |"
        )
    yield ""
    yield "| | " + " | ".join(f"`{event}`" for event in machine.events) + " |"
    yield "|---" * (len(machine.events) + 1) + "|"
    for state in (ABSENT, *machine.states):
        cells = " | ".join(_cell(machine, state, event) for event in machine.events)
        yield f"| `{state}` | {cells} |"
    yield ""


def _node(state: str) -> str:
    return "[*]" if state == ABSENT else state


def _is_last(machine: Machine[Any], state: str) -> bool:
    """Tell whether nothing leads away from a state to another."""
    return all(state not in move.sources or move.target == state for move in machine.moves)


def _cell(machine: Machine[Any], state: str, event: str) -> str:
    try:
        after = machine.after(state, event)
    except IllegalTransition:
        return "cannot be"
    moved = state in machine.moves_from(event)
    return f"`{after}`" if moved else "no effect"


def main() -> None:
    """Print the page."""
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
