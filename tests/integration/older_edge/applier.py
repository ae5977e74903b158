"""The applier of an older release."""

from edge_portal.applier import run_applier
from edge_portal.child import child_command
from tests.integration.older_edge.release import older

main = child_command("applier", older(run_applier))

if __name__ == "__main__":
    main()
