"""Loads the command line once and runs each command in a process forked from it.

One JSON object a line comes in on stdin: arguments, folder, environment, and three files for stdin, stdout and stderr;
the exit code goes out as a line on stdout. So a command costs what it does, and not the start of Python.
"""

import json
import os
import sys
import traceback
from contextlib import redirect_stderr

import yoyo  # noqa: F401  these are loaded before the forks, so that none has to

import engramos.memory  # noqa: F401
from engramos.cli import main


def run(wanted: dict) -> int:
    """Become the process of one command, and return its exit code."""
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        file = os.open(wanted[name], os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the process ends with it
    sys.argv = ["engramos", *wanted["arguments"]]
    return main()


def warm_up() -> None:
    """Run a command that opens no memory, for what typer loads at the first one."""
    sys.argv = ["engramos", "config", "nothing", "--quiet"]
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        main()


def serve() -> None:
    """Run commands until stdin ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = run(json.loads(line))
            except SystemExit as ended:
                code = int(ended.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    warm_up()
    serve()
