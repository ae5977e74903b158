"""
An edge of an older release, for tests: the processes of this one, made to read the first version of every body only.

What an edge reads is a part of its settings that no file and no option sets. The processes here give their roles
settings with another value; everything else about them is the product's own.
"""

import asyncio

import msgspec

from cache_sync.documents import KNOWN_VERSIONS
from edge_portal.child import Role
from edge_portal.settings import EdgeSettings

FIRST_VERSIONS = dict.fromkeys(KNOWN_VERSIONS, 1)


def older(role: Role) -> Role:
    """Make a role of the older release."""

    async def run(settings: EdgeSettings, sockets: list[int], stop: asyncio.Event) -> None:
        narrowed = msgspec.structs.replace(settings, known_versions=FIRST_VERSIONS)
        await role(narrowed, sockets, stop)

    return run
