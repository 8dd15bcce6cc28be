"""Where the command begins: Ctrl-C while its modules are imported ends it with a line, as it does later."""

import sys


def main() -> None:
    """Import the command and run it."""
    try:
        from sfsim.__main__ import main as command
    except KeyboardInterrupt:
        sys.stderr.write("interrupted before anything had begun\n")
        sys.exit(130)
    command()
