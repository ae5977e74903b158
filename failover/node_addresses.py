"""Where nodes may be reached without TLS: on their own machine only."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from failover.errors import ConfigInvalid
from failover.node_config import EdgeConfig

_REWRITE = "write the file again with: core edges config --force"


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own; names other than ``localhost`` are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_https(url: str) -> bool:
    """Tell whether an address is reached over TLS."""
    return urlsplit(url).scheme == "https"


def check_node_url(field: str, url: str) -> None:
    """
    Check the address of a node.

    Raises:
        ConfigInvalid: It is no address, or it is plain HTTP beyond this machine; names the field and the rule.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ConfigInvalid(f"{field}: not an address") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigInvalid(f"{field}: must be http://HOST:PORT or https://HOST:PORT")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigInvalid(f"{field}: beyond this machine nodes must be reached over https")


def check_addresses(config: EdgeConfig) -> None:
    """
    Check that a node speaks TLS with all others or with none, and does without only on its own machine.

    Raises:
        ConfigInvalid: Names the field and the rule.
    """
    urls = {"core_url": config.core_url}
    for peer in config.peers:
        urls[f"peers.{peer.node_id}.url"] = peer.url
        if peer.feed_url:
            urls[f"peers.{peer.node_id}.feed_url"] = peer.feed_url
    for field, url in urls.items():
        check_node_url(field, url)
        if is_https(url) and config.tls is None:
            raise ConfigInvalid(f"{field}: https needs a certificate in this file: {_REWRITE}")
        if not is_https(url) and config.tls is not None:
            raise ConfigInvalid(f"{field}: must be https too, because this node speaks TLS")
    if config.tls is None and not is_loopback(config.host):
        raise ConfigInvalid(
            "host: beyond this machine nodes must speak TLS: give https addresses of the core and all siblings"
        )
