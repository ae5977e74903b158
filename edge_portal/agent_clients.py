"""What an agent calls other nodes with: a client of its own for each purpose."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from cache_sync.frames import Position
from edge_portal.core_client import (
    INTAKE_CALLS_MAX,
    CoreIntakeClient,
    CoreProbeClient,
    ReachedProof,
)
from edge_portal.links import Links
from edge_portal.peer_client import PeerClient
from edge_portal.settings import read_secret
from failover.covers import Following
from failover.node_config import ProcessorAccess
from failover.standin import Holding
from failover.stripe_processor import StripeProcessor

DRAIN_CALLS_MAX: Final = 4
RETURN_CALLS_MAX: Final = 1
PROBE_CALLS_MAX: Final = 2

Purpose = Literal["intake", "drain", "return"]
_CALLS_MAX: Final[dict[Purpose, int]] = {
    "intake": INTAKE_CALLS_MAX,
    "drain": DRAIN_CALLS_MAX,
    "return": RETURN_CALLS_MAX,
}


class AgentClients:
    """
    The clients of one agent. ``reached`` tells the barrier that the core is shown. Call `close` at the end.

    Args:
        links: Makes them.
        known_versions: The newest version of each kind of body that this node reads, which the core is told.
    """

    def __init__(self, links: Links, *, known_versions: Mapping[str, int]) -> None:
        self._reads = known_versions
        self._probe = links.core("probe", PROBE_CALLS_MAX)
        self._intakes = {purpose: links.core(purpose, most) for purpose, most in _CALLS_MAX.items()}
        self._processor: StripeProcessor | None = None
        self.siblings = {peer.node_id: PeerClient(links, peer) for peer in links.config.peers}

    def prober(
        self,
        reached: ReachedProof,
        kept: Callable[[], Iterable[Position]],
        limits: Callable[[], Holding | None],
        covers: Callable[[], Following],
    ) -> CoreProbeClient:
        """
        Make what asks whether the core is there.

        ``kept`` tells what a power loss would leave, ``limits`` which stand-in limits are followed, ``covers`` which
        backup of the core is known of.
        """
        return CoreProbeClient(self._probe, reached, kept, self._reads, limits, covers)

    def intake(self, purpose: Purpose, reached: ReachedProof) -> CoreIntakeClient:
        """Make what brings intents and outcomes; a purpose's calls cannot starve another's."""
        return CoreIntakeClient(self._intakes[purpose], reached)

    def processor(self, access: ProcessorAccess) -> StripeProcessor:
        """Make what charges saved methods. Raises `ConfigError` when its secret cannot be read."""
        self._processor = StripeProcessor(access.url, read_secret(Path(access.secret_file)))
        return self._processor

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._probe, *self._intakes.values()):
            await client.close()
        for sibling in self.siblings.values():
            await sibling.close()
        if self._processor is not None:
            await self._processor.close()
