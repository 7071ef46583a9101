"""The command line: `engramos`, one file a command under `commands/`."""

import sys


def main() -> int:
    """Run the command line with the process's arguments and return its exit code; see `exit_codes`."""
    from engramos.cli.app import run

    return run(sys.argv[1:])
