"""The edge on the command line."""

import subprocess
import sys


def test_help_names_the_command_that_people_type() -> None:
    """Not the module that the launcher starts."""
    told = subprocess.run(
        [sys.executable, "-m", "edge_portal", "status", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith("Usage: ridethrough edge status ")
