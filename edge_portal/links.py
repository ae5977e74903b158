"""How this node calls others: as whom, over what, and whom no more."""

from pathlib import Path

import httpx

from edge_portal.message_client import MessageClient
from edge_portal.node_client import NodeClient
from edge_portal.range_client import RangeClient
from failover.errors import NotSent
from failover.node_config import CORE_NODE_ID, EdgeConfig
from failover.node_tls import link_to
from failover.revocations import Revocations


class Links:
    """
    Makes the clients of other nodes, all with the same proofs of who this node is.

    Args:
        config: Of this edge.
        data: Its data folder, where it stands who was expelled; None where that does not matter.
        transport: How bytes travel; tests pass their own.
    """

    def __init__(
        self,
        config: EdgeConfig,
        data: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.config = config
        self._revoked = None if data is None else Revocations(data)
        self._transport = transport

    def core(self, purpose: str, calls_max: int) -> NodeClient:
        """Make a client of the core for one purpose."""
        return self.client(CORE_NODE_ID, self.config.core_url, purpose, calls_max)

    def client(self, node_id: str, url: str, purpose: str, calls_max: int) -> NodeClient:
        """Make a client of a node for one purpose. Raises `ConfigInvalid`."""
        config = self.config
        return NodeClient(
            url,
            node_id=config.node_id,
            secret=config.node_secret,
            purpose=purpose,
            calls_max=calls_max,
            transport=self._transport,
            tls=link_to(config.tls, node_id),
            check=lambda: self._check(node_id),
        )

    def messages(self, node_id: str, url: str, purpose: str, calls_max: int) -> MessageClient:
        """Make a client of a node for what somebody waits for. Raises `ConfigInvalid`."""
        config = self.config
        return MessageClient(
            url,
            node_id=config.node_id,
            secret=config.node_secret,
            purpose=purpose,
            calls_max=calls_max,
            tls=link_to(config.tls, node_id),
            check=lambda: self._check(node_id),
        )

    def files(self, node_id: str, url: str) -> RangeClient:
        """Make a client for a node's files. Raises `ConfigInvalid`."""
        config = self.config
        return RangeClient(
            url,
            node_id=config.node_id,
            secret=config.node_secret,
            tls=link_to(config.tls, node_id),
            check=lambda: self._check(node_id),
        )

    def _check(self, node_id: str) -> None:
        """Raise `NotSent` when a node was expelled."""
        if self._revoked is not None and node_id in self._revoked:
            raise NotSent("the core has expelled this node")
