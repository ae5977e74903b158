"""What an edge is started with: the configuration, and what the environment adds to it."""

import base64
from pathlib import Path

import pytest

from edge_portal.errors import ConfigError
from edge_portal.settings import REDIS_FEED_VARIABLE, REDIS_VARIABLE, load_settings
from failover.node_config import EdgeConfig, RedisReplica, Utility, write_config

KEY = base64.b64encode(b"k" * 32).decode()
SECRET = "a-secret"


def written(folder: Path, **changes: object) -> Path:
    """Write a configuration."""
    fields = {
        "node_id": "east",
        "node_secret": "s",
        "signing_key": KEY,
        "core_url": "http://127.0.0.1:1",
        "core_secret_sha256": "",
        "session_key": KEY,
        "form_key": KEY,
        "lookup_key": KEY,
        "port": 1,
        "peer_port": 2,
        "utility": Utility(name="Test Light"),
    }
    path = folder / "edge.json"
    write_config(path, EdgeConfig(**{**fields, **changes}))  # type: ignore[arg-type]
    return path


def test_the_environment_names_a_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses with passwords need not stand in the file; what stands there goes first."""
    monkeypatch.setenv(REDIS_VARIABLE, "rediss://edge:pw@cache:6380")
    monkeypatch.setenv(REDIS_FEED_VARIABLE, "redis://feed")
    path = written(tmp_path, redis_feed="redis://of-the-file")
    config = load_settings(path, tmp_path).config
    assert config.redis is not None
    assert config.redis.url == "rediss://edge:pw@cache:6380"
    assert config.redis_feed == "redis://of-the-file"


def test_without_one_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge needs no Redis."""
    monkeypatch.delenv(REDIS_VARIABLE, raising=False)
    monkeypatch.delenv(REDIS_FEED_VARIABLE, raising=False)
    config = load_settings(written(tmp_path), tmp_path).config
    assert (config.redis, config.redis_feed) == (None, "")


@pytest.mark.parametrize("url", ["http://a-secret@host", "redis://", "host:6379", "redis://x:y"])
def test_what_is_no_redis_is_refused_at_once(tmp_path: Path, url: str) -> None:
    """A mistyped address ends the start, with a word on which, and never with the address."""
    with pytest.raises(ConfigError, match="redis") as refused:
        load_settings(written(tmp_path, redis=RedisReplica(url=url)), tmp_path)
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigError, match="redis_feed"):
        load_settings(written(tmp_path / "feed", redis_feed=url), tmp_path)
