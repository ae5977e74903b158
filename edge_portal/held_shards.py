"""Which shards this edge holds, and where their snapshots lie."""

from pathlib import Path

from cache_sync.shards import FIRST_SHARD, shard_names
from edge_portal.settings import EdgeSettings
from failover.node_config import EdgeConfig


def held_shards(config: EdgeConfig) -> list[str]:
    """List the shards that this node holds: those that its file names, all of the core's where it names none."""
    return list(config.held_shards) or shard_names(config.shards)


def snapshot_folders(settings: EdgeSettings) -> dict[str, Path]:
    """Tell the snapshot folders of all shards that this node holds."""
    return {shard: snapshot_folder(settings, shard) for shard in held_shards(settings.config)}


def snapshot_folder(settings: EdgeSettings, shard: str) -> Path:
    """Tell the snapshot folder of a shard; the first shard's is where it was before there were several."""
    snapshot = settings.paths.snapshot
    return snapshot if shard == FIRST_SHARD else snapshot.with_name(f"{snapshot.name}-{shard}")
