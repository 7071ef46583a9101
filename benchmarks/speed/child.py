"""Runs one measure in a process of its own: `python -m benchmarks.speed.child MODULE FUNCTION ARGUMENTS`.

The arguments are a JSON object; the result is the last line of stdout, as JSON.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


class ChildFailedError(Exception):
    """A measure's process failed; the message is its last line."""


def run_child(
    module: str, function: str, *, python: str = sys.executable, timeout_s: float = 3_600, **arguments: Any
) -> Any:
    """Return what a function of a module of this package returns in a fresh process with one BLAS thread.

    Args:
        module: below `benchmarks.speed`.
        function: takes the arguments and returns JSON values.
        python: the interpreter.
        timeout_s: it is killed after this time.
        arguments: JSON values.

    Raises:
        ChildFailedError: if it fails or takes too long.
    """
    command = [python, "-m", "benchmarks.speed.child", module, function, json.dumps(arguments)]
    # a session of its own, so that a time limit ends what the child started as well
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | ONE_THREAD,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            out, problem = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL)
            raise ChildFailedError(f"took more than {timeout_s:.0f} s") from error
    if child.returncode != 0 or not out.strip():
        lines = problem.strip().splitlines() or [f"ended with {child.returncode}"]
        raise ChildFailedError(lines[-1][:300])
    return json.loads(out.strip().splitlines()[-1])


def main() -> None:
    """Run the measure that the command line names and print what it returns."""
    module, function, arguments = sys.argv[1:4]
    made = getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)
    print(json.dumps(made(**json.loads(arguments))), flush=True)


if __name__ == "__main__":
    main()
