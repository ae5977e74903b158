"""
The first release's core.

Nothing to do: it is where upgrades begin.
"""

revision = "core_1"
down_revision = None


def upgrade() -> None:
    """Begin."""
