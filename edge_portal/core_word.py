"""What the core tells an edge of the fleet with its probes; all of it is kept on disk, and holds without the core."""

from edge_portal.settings import EdgeSettings
from failover.grants import Grants
from failover.probe import ProbeAnswer
from failover.revocations import Revocations
from failover.standin_orders import StandinLimits


class CoreWord:
    """
    Who was expelled, what siblings may read, which stand-in limits hold; one instance in the agent.

    Args:
        settings: Of this edge.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        config, data = settings.config, settings.paths.data
        self.revoked = Revocations(data)
        self._grants = Grants(data, {})
        self.limits = StandinLimits(
            data,
            node_id=config.node_id,
            core_key=config.core_public_key,
            configured=config.standin,
        )

    def note(self, told: ProbeAnswer) -> None:
        """Take over what the core says."""
        self.revoked.note(told.revoked)
        if told.grants is not None:
            self._grants.note(told.grants)
        if told.standin is not None:
            self.limits.note(told.standin)
