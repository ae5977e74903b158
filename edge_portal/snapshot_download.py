"""HTTP to the nodes that hand snapshot files out: implements `cache_sync.snapshot_source.SnapshotHolder`."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import quote

import httpx

from cache_sync.clock import Clock
from cache_sync.errors import SnapshotRefused, SnapshotUnavailable
from cache_sync.snapshot_file import (
    OFFER_BYTES_MAX,
    SignatureCheck,
    SnapshotManifest,
    SnapshotOffer,
    decode_offer,
)
from cache_sync.snapshot_file import trusting as trusting_keys
from cache_sync.snapshot_file_download import SnapshotDownload
from edge_portal.core_client import core_client
from edge_portal.node_client import Answer, NodeClient, read_problem, slug_of
from failover.errors import NodeError, Overloaded
from failover.node_config import CORE_NODE_ID, EdgeConfig, PeerConfig
from failover.signing import is_signed

OFFER_SECONDS: Final = 5.0
PART_SECONDS: Final = 20.0
# An answer and the one that is asked for ahead.
CALLS_MAX: Final = 2
_PROBLEM_BYTES_MAX: Final = 65_536
_OK: Final = 200
_PARTIAL: Final = 206
_NOT_SATISFIABLE: Final = 416


class NodeSnapshots:
    """
    The snapshot files of one node.

    Args:
        client: To that node, for this purpose.
        name: Its node id.
        shard: The shard.
    """

    def __init__(self, client: NodeClient, name: str, shard: str) -> None:
        self._client = client
        self._name = name
        self._path = f"/snapshots/{quote(shard, safe='')}"

    @property
    def name(self) -> str:
        """Return the node's id."""
        return self._name

    async def offer(self) -> SnapshotOffer:
        """Ask which file it has. Raises `SnapshotUnavailable`, `SnapshotRefused`."""
        answer = await self._call(self._path, None, OFFER_SECONDS, OFFER_BYTES_MAX)
        if answer.status != _OK:
            raise _none(answer)
        return decode_offer(answer.body)

    async def fetch(self, name: str, begin: int, end: int) -> bytes:
        """Ask for a part of a file. Raises `SnapshotUnavailable`, `SnapshotRefused`."""
        path = f"{self._path}/{quote(name, safe='')}"
        wanted = f"bytes={begin}-{end - 1}"
        bytes_max = max(end - begin, _PROBLEM_BYTES_MAX)
        answer = await self._call(path, wanted, PART_SECONDS, bytes_max)
        if answer.status == _NOT_SATISFIABLE:
            raise SnapshotRefused("truncated", f"{self._name} has no byte {begin} of the file")
        if answer.status != _PARTIAL:
            raise SnapshotUnavailable("gone", str(_none(answer)))
        return answer.body

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _call(self, path: str, wanted: str | None, seconds: float, bytes_max: int) -> Answer:
        try:
            return await self._client.call(
                "GET",
                path,
                deadline_seconds=seconds,
                bytes_max=bytes_max,
                headers={} if wanted is None else {"Range": wanted},
            )
        except Overloaded as error:
            reason = "being_made" if error.slug == "snapshot_being_made" else "busy"
            raise SnapshotUnavailable(
                reason, str(error), retry_after_seconds=error.retry_after or 0.0
            ) from error
        except NodeError as error:
            raise SnapshotUnavailable("silent", str(error)) from error


def _none(answer: Answer) -> SnapshotUnavailable:
    slug = slug_of(read_problem(answer.body))
    return SnapshotUnavailable("none", f"answered with {answer.status} {slug}".rstrip())


def holders_of(
    config: EdgeConfig, shard: str, transport: httpx.AsyncBaseTransport | None = None
) -> list[NodeSnapshots]:
    """
    Make the clients of the nodes that this edge takes snapshot files from, in the order of its upstreams.

    Only nodes whose signature it can check, and siblings only where they pass documents on.
    """
    feeding = {peer.node_id: peer for peer in config.peers if peer.feed_url}
    keys = trusted_keys(config)

    def client(peer: PeerConfig) -> NodeClient:
        return NodeClient(
            peer.feed_url,
            node_id=config.node_id,
            secret=config.node_secret,
            purpose=f"snapshots {peer.node_id}",
            calls_max=CALLS_MAX,
            transport=transport,
        )

    return [
        NodeSnapshots(
            core_client(config, "snapshots", CALLS_MAX, transport)
            if name == CORE_NODE_ID
            else client(feeding[name]),
            name,
            shard,
        )
        for name in dict.fromkeys(config.upstreams or [CORE_NODE_ID, *feeding])
        if keys.get(name) and (name == CORE_NODE_ID or name in feeding)
    ]


class EdgeDownload:
    """
    One shard's download, with the connections that it goes through. Call `close` at the end.

    Args:
        config: Of this edge.
        folder: The shard's snapshot folder.
        shard: The shard.
        fetched: Told of every file that arrived whole.
        clock: Time.
        rng: Where jitter comes from.
    """

    def __init__(
        self,
        config: EdgeConfig,
        folder: Path,
        shard: str,
        *,
        fetched: Callable[[SnapshotManifest], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._holders = holders_of(config, shard)
        self.source = SnapshotDownload(
            self._holders,
            folder / "download",
            shard,
            check_signature=trusted_signatures(config),
            clock=clock,
            rng=rng,
            fetched=fetched,
        )

    async def close(self) -> None:
        """Stop fetching and close the connections."""
        self.source.close()
        for holder in self._holders:
            await holder.close()


def trusted_keys(config: EdgeConfig) -> dict[str, str]:
    """Tell whose signatures on manifests are believed, by node id: the core's and the siblings'."""
    return {CORE_NODE_ID: config.core_public_key} | {
        peer.node_id: peer.public_key for peer in config.peers
    }


def trusted_signatures(config: EdgeConfig) -> SignatureCheck:
    """Make the check of manifests' signatures."""
    return trusting_keys(trusted_keys(config), is_signed)
