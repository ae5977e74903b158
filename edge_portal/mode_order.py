"""An operator's word on the node's mode, such as for planned maintenance: a small file that outlives every process."""

from pathlib import Path
from typing import Literal

import msgspec

from failover.noted_file import put_whole

Order = Literal["degraded", "automatic"]


class ModeOrder(msgspec.Struct, frozen=True):
    """What an operator ordered: always ``degraded``, or whatever the node finds (``automatic``)."""

    mode: Order = "automatic"


def give_order(path: Path, order: ModeOrder) -> None:
    """
    Put an order in place; the agent follows it within half a second, and after every restart.

    Raises:
        OSError: It could not be written; the order before stands.
    """
    put_whole(path, msgspec.json.encode(order), flush=True)


def read_order(path: Path) -> ModeOrder:
    """Read the order in force; ``automatic`` where none was given, ``degraded`` where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModeOrder)
    except FileNotFoundError:
        return ModeOrder()
    except (OSError, msgspec.DecodeError):
        # Somebody ordered something: promising less is the safe reading.
        return ModeOrder("degraded")
