"""The agent of an older release."""

from edge_portal.agent import run_agent
from edge_portal.child import child_command
from tests.integration.older_edge.release import older

main = child_command("agent", older(run_agent))

if __name__ == "__main__":
    main()
