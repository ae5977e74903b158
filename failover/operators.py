"""Who runs a command, for what is written down about it."""

import getpass
import os


def this_operator() -> str:
    """Name who runs a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
