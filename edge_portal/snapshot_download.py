"""HTTP to the nodes that hand snapshot files out: implements `cache_sync.snapshot_source.SnapshotHolder`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import quote

from cache_sync.clock import Clock
from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import SnapshotRefused, SnapshotUnavailable
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.snapshot_file import (
    OFFER_BYTES_MAX,
    SignatureCheck,
    SnapshotManifest,
    SnapshotOffer,
    decode_offer,
)
from cache_sync.snapshot_file import trusting as trusting_keys
from cache_sync.snapshot_file_download import SnapshotDownload
from edge_portal.links import Links
from edge_portal.node_client import NodeClient, read_problem, slug_of
from edge_portal.range_client import RangeClient
from failover.errors import AnswerTooLarge, NodeError, Overloaded
from failover.node_config import CORE_NODE_ID, EdgeConfig
from failover.signing import is_signed

OFFER_SECONDS: Final = 5.0
PART_SECONDS: Final = 20.0
_OK: Final = 200
_PARTIAL: Final = 206
_NOT_SATISFIABLE: Final = 416


class NodeSnapshots:
    """
    The snapshot files of one node.

    Args:
        client: To that node, for this purpose.
        files: To that node, for the files themselves.
        name: Its node id.
        shard: The shard.
    """

    def __init__(self, client: NodeClient, files: RangeClient, name: str, shard: str) -> None:
        self._client = client
        self._files = files
        self._name = name
        self._path = f"/snapshots/{quote(shard, safe='')}"

    @property
    def name(self) -> str:
        """Return the node's id."""
        return self._name

    async def offer(self) -> SnapshotOffer:
        """Ask which file it has. Raises `SnapshotUnavailable`, `SnapshotRefused`."""
        with _unavailable():
            answer = await self._client.call(
                "GET", self._path, deadline_seconds=OFFER_SECONDS, bytes_max=OFFER_BYTES_MAX
            )
        if answer.status != _OK:
            raise _none(answer.status, answer.body)
        return decode_offer(answer.body)

    async def fetch(self, name: str, begin: int, end: int) -> bytes | bytearray:
        """Ask for a part of a file. Raises `SnapshotUnavailable`, `SnapshotRefused`."""
        path = f"{self._path}/{quote(name, safe='')}"
        with _unavailable():
            answer = await self._files.get(path, begin, end, deadline_seconds=PART_SECONDS)
        if answer.status == _NOT_SATISFIABLE:
            raise SnapshotRefused("truncated", f"{self._name} has no byte {begin} of the file")
        if answer.status != _PARTIAL:
            raise SnapshotUnavailable("gone", str(_none(answer.status, bytes(answer.body))))
        return answer.body

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()
        await self._files.close()


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except Overloaded as error:
        reason = "being_made" if error.slug == "snapshot_being_made" else "busy"
        raise SnapshotUnavailable(
            reason, str(error), retry_after_seconds=error.retry_after or 0.0
        ) from error
    except AnswerTooLarge as error:
        raise SnapshotRefused("too_large", str(error)) from error
    except NodeError as error:
        raise SnapshotUnavailable("silent", str(error)) from error


def _none(status: int, body: bytes) -> SnapshotUnavailable:
    slug = slug_of(read_problem(body))
    return SnapshotUnavailable("none", f"answered with {status} {slug}".rstrip())


def holders_of(links: Links, shard: str) -> list[NodeSnapshots]:
    """
    Make the clients of the nodes that this edge takes snapshot files from, in the order of its upstreams.

    Only nodes whose signature it can check, and siblings only where they pass documents on.
    """
    config = links.config
    urls = {peer.node_id: peer.feed_url for peer in config.peers if peer.feed_url}
    named = config.upstreams or [CORE_NODE_ID, *urls]
    urls[CORE_NODE_ID] = config.core_url
    keys = trusted_keys(config)

    def holder(name: str, url: str) -> NodeSnapshots:
        offers = links.client(name, url, f"snapshots {name}", 1)
        files = links.files(name, url)
        return NodeSnapshots(offers, files, name, shard)

    return [
        holder(name, urls[name])
        for name in dict.fromkeys(named)
        if keys.get(name) and urls.get(name)
    ]


class EdgeDownload:
    """
    One shard's download, with the connections that it goes through. Call `close` at the end.

    Args:
        links: Of this edge.
        folder: The shard's snapshot folder.
        shard: The shard.
        fetched: Told of every file that arrived whole.
        clock: Time.
        rng: Where jitter comes from.
        keys: What this node's files are encrypted under.
        known_versions: The newest version of each kind of body that it reads.
    """

    def __init__(
        self,
        links: Links,
        folder: Path,
        shard: str,
        *,
        fetched: Callable[[SnapshotManifest], None],
        clock: Clock,
        rng: Random,
        keys: FileKeys = PLAIN,
        known_versions: Mapping[str, int] = KNOWN_VERSIONS,
    ) -> None:
        self._holders = holders_of(links, shard)
        self.source = SnapshotDownload(
            self._holders,
            folder / "download",
            shard,
            check_signature=trusted_signatures(links.config),
            clock=clock,
            rng=rng,
            fetched=fetched,
            keys=keys,
            known_versions=known_versions,
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
