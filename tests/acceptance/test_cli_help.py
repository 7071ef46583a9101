"""Every command has a help that ends with an example, and the example runs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.acceptance.cli_process import PROGRAM, Cli, ForkedCli

from engramos.cli.app import COMMANDS

NAMES = [name for name, *_ in COMMANDS]
WANTED = (
    "add import search context get list history update forget restore explain stats verify backup dump load reembed"
)
HEAVY = ("numpy", "onnxruntime", "yoyo", "engramos.memory", "engramos.vault")


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A memory with one cube, and the files that examples name."""
    made = ForkedCli(tmp_path_factory.mktemp("help"))
    (made.home / "notes.md").write_text("# Notes\n\nThe roof was mended in March.\n")
    (made.home / "chat.jsonl").write_text('{"role": "user", "content": "Supper is at eight."}\n')
    made.environment["ID"] = made.add("Tea is at four.", "--speaker", "Ana")
    yield made
    made.close()


def example_of(cli: Cli, name: str) -> str:
    """Return the line that stands last in a command's help."""
    lines = [line.strip() for line in cli(name, "--help").out.splitlines() if line.strip()]
    assert lines[-2] == "Example"
    return lines[-1]


def test_every_command_of_the_contract_is_there() -> None:
    assert {*WANTED.split(), "doctor", "config"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_the_help_runs(cli: Cli, name: str) -> None:
    line = example_of(cli, name)
    assert line.startswith(f"engramos {name} ") or line == f"engramos {name}"
    if name == "load":
        cli("dump", "memory.engramos", "--overwrite")
    environment = dict(cli.environment)
    if name in ("update", "restore", "forget"):
        environment |= {"ENGRAMOS_FOLDER": f"for-{name}"}
        done = cli("add", "Tea is at four.", "--speaker", "Ana", ENGRAMOS_FOLDER=f"for-{name}")
        environment["ID"] = done.out.strip()
    done = subprocess.run(
        ["bash", "-c", line], cwd=cli.home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert "Traceback" not in done.stderr


def test_the_help_of_all_names_every_command_and_the_version_is_printed(cli: Cli) -> None:
    help_text = cli("--help").out
    assert [name for name in NAMES if not re.search(rf"│ {name} ", help_text)] == []
    assert cli().out == help_text
    assert re.fullmatch(r"engramos \d+\.\d+\.\d+\n", cli("--version").out)


def test_the_help_loads_nothing_heavy() -> None:
    program = (
        f"import sys\nfrom engramos.cli.app import run\nrun(['--help'])\nprint(*set(sys.modules) & set({HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == ""


@pytest.mark.slow
def test_the_help_takes_little_time_of_the_processor(cli: Cli) -> None:
    own, taken_s = Cli(cli.home), []
    for _ in range(5):
        before = os.times().children_user
        own("--help")
        taken_s.append(os.times().children_user - before)
    assert min(taken_s) < 0.5


def test_completion_offers_the_commands(cli: Cli) -> None:
    assert "complete" in cli("--show-completion", "bash").out
    done = subprocess.run(
        [PROGRAM],
        cwd=cli.home,
        env=cli.environment | {"_ENGRAMOS_COMPLETE": "complete_bash", "COMP_WORDS": "engramos se", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["search"]
