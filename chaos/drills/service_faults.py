"""Faults of what a service holds."""

import asyncio

import msgspec
import redis

from chaos.drills.drill import Lease, Target
from chaos.drills.process_faults import Healed, named
from chaos.drills.stage import Stage
from chaos.errors import ControlError
from chaos.fleet_file import FleetFile
from chaos.services import HOST, REDIS

ASK_SECONDS_MAX = 5.0


class RedisFlushed(msgspec.Struct, frozen=True):
    """Everything in the fleet's Redis is gone at once; it goes on."""

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the server."""
        return [Target(named(fleet, REDIS), "FLUSHALL")]

    async def take(self, stage: Stage) -> Lease:
        """Empty it."""
        port = next((one.port for one in stage.fleet.services if one.name == REDIS), 0)
        try:
            await asyncio.to_thread(_flush, port)
        except redis.RedisError as error:
            raise ControlError(f"the Redis could not be emptied: {error}") from error
        return Healed()


def _flush(port: int) -> None:
    with redis.Redis(host=HOST, port=port, socket_timeout=ASK_SECONDS_MAX) as client:
        client.flushall()
