"""Runs the command line as a process, as a person or a script does."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("engramos")
FORKS = Path(__file__).with_name("cli_forks.py")


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The one JSON object on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """The command line in a folder of its own, with an environment of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ENGRAMOS_EMBEDDER": "hashing",
            "OMP_NUM_THREADS": "1",
        }

    def __call__(
        self, *arguments: str | bytes | Path, stdin: str | bytes = b"", code: int = 0, **settings: str
    ) -> Done:
        """Run one command and check its exit code, that no traceback is shown, and that nothing is coloured."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = self.run(list(map(os.fsdecode, arguments)), given, self.environment | settings)
        assert done.code == code, f"{arguments}: exit code {done.code}, wanted {code}\n{done.out}\n{done.err}"
        assert "Traceback" not in done.err + done.out, done.err
        assert "\x1b" not in done.err + done.out, "an escape sequence in a pipe"
        return done

    def run(self, arguments: list[str], stdin: bytes, environment: dict[str, str]) -> Done:
        """Run one command as a process of its own."""
        done = subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            cwd=self.home,
            env=environment,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def add(self, *arguments: str) -> str:
        """Add one memory and return its id."""
        return self("add", *arguments).out.strip()


class ForkedCli(Cli):
    """The same, with every command in a process forked from one that has loaded the program already."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.parent = subprocess.Popen(
            [sys.executable, FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            text=True,
        )

    def run(self, arguments: list[str], stdin: bytes, environment: dict[str, str]) -> Done:
        """Run one command as a fork."""
        files = {name: self.home / f".{name}" for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_bytes(stdin)
        wanted = {"arguments": arguments, "folder": str(self.home), "environment": environment}
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(json.dumps(wanted | {name: str(path) for name, path in files.items()}) + "\n")
        self.parent.stdin.flush()
        code = int(self.parent.stdout.readline())
        return Done(code, files["stdout"].read_bytes().decode(), files["stderr"].read_bytes().decode())

    def close(self) -> None:
        """End the process that forks."""
        self.parent.communicate(timeout=60)
