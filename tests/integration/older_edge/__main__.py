"""Serves as `edge serve` does, with the agent and the applier of an older release."""

import sys
from pathlib import Path

from cache_sync.clock import SystemClock
from edge_portal.settings import load_settings
from edge_portal.supervisor import MODULES, Supervisor
from failover.logs import configure_logs

OLDER = {role: f"tests.integration.older_edge.{role}" for role in ("agent", "applier")}


def main(config_file: Path, data: Path) -> None:
    """Serve until told to stop."""
    configure_logs("supervisor")
    settings = load_settings(config_file, data)
    modules = {**MODULES, **OLDER}
    Supervisor(settings, config_file, clock=SystemClock(), modules=modules).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
