"""
Replication under every fault that a network, a process, a clock and an operator can have, in any order.

The core's own record says what was true after every commit; readers at the edge are held against it after every action.
"""

import asyncio

from hypothesis import given, settings

from tests.property.replication_histories import beginnings, histories
from tests.property.replication_world import Action, Beginning, live


@settings(max_examples=120)
@given(beginning=beginnings, history=histories)
def test_readers_see_the_core_at_a_barrier_and_never_go_back(
    beginning: Beginning, history: list[Action]
) -> None:
    """
    Whatever happens, readers see exactly one state that the core was in, never an older one than before.

    Their label is true: everything before T is in it, and the age shown is not below the true one. When the faults
    stop, they see the core's present.
    """
    asyncio.run(live(beginning, history))
