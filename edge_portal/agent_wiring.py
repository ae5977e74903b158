"""The ways out of an agent: to the core, to siblings, to the payment processor. A simulator lays its own."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, Protocol

from cache_sync.frames import Position
from edge_portal.core_client import (
    INTAKE_CALLS_MAX,
    CoreIntakeClient,
    CoreProbeClient,
    ReachedProof,
)
from edge_portal.links import Links
from edge_portal.peer_client import PeerClient
from edge_portal.settings import EdgeSettings, read_secret
from failover.node_config import ProcessorAccess
from failover.offering import CoreIntake
from failover.probe import CoreProber
from failover.processor import PaymentProcessor
from failover.returning import CoreReturns
from failover.stripe_processor import StripeProcessor
from failover.witness import Sibling

DRAIN_CALLS_MAX: Final = 4
PROBE_CALLS_MAX: Final = 2

Purpose = Literal["intake", "drain"]
_CALLS_MAX: Final[dict[Purpose, int]] = {"intake": INTAKE_CALLS_MAX, "drain": DRAIN_CALLS_MAX}


class CoreDecides(CoreIntake, CoreReturns, Protocol):
    """Takes intents, and outcomes back."""


class AgentWiring(Protocol):
    """Makes what an agent calls other nodes with. ``reached`` tells the barrier that the core is shown."""

    def prober(self, reached: ReachedProof, kept: Callable[[], Iterable[Position]]) -> CoreProber:
        """Make what asks whether the core is there; ``kept`` tells what a power loss would leave."""
        ...

    def intake(self, purpose: Purpose, reached: ReachedProof) -> CoreDecides:
        """Make what delivers intents; a purpose's calls cannot starve the other's."""
        ...

    def siblings(self) -> Mapping[str, Sibling]:
        """Make what calls each sibling."""
        ...

    def processor(self, access: ProcessorAccess) -> PaymentProcessor:
        """Make what charges saved methods."""
        ...

    async def close(self) -> None:
        """Close all that was made."""
        ...


class HttpWiring:
    """Calls over HTTP, each purpose through a client of its own."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._config = settings.config
        self._reads = settings.known_versions
        self._links = Links(settings.config, settings.paths.data)
        self._probe = self._links.core("probe", PROBE_CALLS_MAX)
        self._intakes = {
            purpose: self._links.core(purpose, most) for purpose, most in _CALLS_MAX.items()
        }
        self._siblings = {
            peer.node_id: PeerClient(self._links, peer) for peer in settings.config.peers
        }
        self._processor: StripeProcessor | None = None

    def prober(self, reached: ReachedProof, kept: Callable[[], Iterable[Position]]) -> CoreProber:
        """Make what asks whether the core is there."""
        return CoreProbeClient(self._probe, reached, kept, self._reads)

    def intake(self, purpose: Purpose, reached: ReachedProof) -> CoreDecides:
        """Make what delivers intents."""
        return CoreIntakeClient(self._intakes[purpose], reached)

    def siblings(self) -> Mapping[str, Sibling]:
        """Make what calls each sibling."""
        return self._siblings

    def processor(self, access: ProcessorAccess) -> PaymentProcessor:
        """Make what charges saved methods. Raises `ConfigError` when its secret cannot be read."""
        self._processor = StripeProcessor(access.url, read_secret(Path(access.secret_file)))
        return self._processor

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._probe, *self._intakes.values()):
            await client.close()
        for sibling in self._siblings.values():
            await sibling.close()
        if self._processor is not None:
            await self._processor.close()
