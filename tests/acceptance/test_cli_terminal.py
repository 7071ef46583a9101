"""What a person sees in a terminal: a question before an erasure, tables that fit, colours, a bar."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from tests.acceptance.cli_process import PROGRAM, Cli, ForkedCli

if sys.platform == "win32":
    pytest.skip("there is no pseudo-terminal here", allow_module_level=True)

import fcntl
import termios

LIMIT_S = 30.0
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command that runs in a pseudo-terminal of its own."""

    def __init__(self, cli: Cli, arguments: Sequence[str], *, columns: int = 80, **settings: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = cli.environment | {"TERM": "xterm-256color"} | settings
        self.process = subprocess.Popen(
            [PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cli.home,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, text: str | None) -> str:
        """Return all that was shown, once `text` was, or, with None, once the command has ended."""
        ends = time.monotonic() + LIMIT_S
        while text is None or text not in self.plain:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"waited for {text!r}, saw {self.shown!r}"
            try:
                piece = os.read(self.ours, 65_536)
            except OSError:
                piece = b""
            if not piece:
                break
            self.shown += piece.decode()
        return self.plain

    @property
    def plain(self) -> str:
        """What was shown, without colours."""
        return _SEQUENCE.sub("", self.shown).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self.ours, text.encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        self.read_until(None)
        code = self.process.wait(LIMIT_S)
        os.close(self.ours)
        return code


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    made = ForkedCli(tmp_path_factory.mktemp("terminal"))
    long = "I ran a charity race for mental health last Saturday and it made me think of all who could not run with us."
    made(
        "add",
        long,
        "Short.",
        "日本語の文章です。" * 12,
        "--speaker",
        "Melanie",
        "--label",
        "race",
        "--at",
        "2023-05-08",
    )
    yield made
    made.close()


def test_an_erasure_asks_and_a_no_erases_nothing(cli: Cli) -> None:
    terminal = Terminal(cli, ["forget", "--act", "erase", "--label", "race"])
    shown = terminal.read_until("[y/N]")
    assert "Erase 3 cubes for good?" in shown
    assert "I ran a charity race" in shown
    terminal.type("n\n")
    assert terminal.end() == 1
    assert "nothing was erased" in terminal.plain
    assert len(cli("list", "--label", "race", "--json").lines) == 3


def test_an_erasure_asks_and_a_yes_erases(cli: Cli) -> None:
    ids = cli("add", "Draft one.", "Draft two.", "--label", "draft").out.split()
    terminal = Terminal(cli, ["forget", "--act", "erase", "--label", "draft"])
    terminal.read_until("[y/N]")
    terminal.type("yes\n")
    assert terminal.end() == 0
    assert all(cube_id in terminal.plain for cube_id in ids)
    assert "the files hold no trace" in terminal.plain.replace("\n", " ")
    assert cli("list", "--label", "draft", "--json").lines == []


def test_an_interrupt_at_the_question_is_130_and_erases_nothing(cli: Cli) -> None:
    terminal = Terminal(cli, ["forget", "--act", "erase", "--label", "race"])
    terminal.read_until("[y/N]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.plain
    assert len(cli("list", "--label", "race", "--json").lines) == 3


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(cli: Cli, columns: int) -> None:
    from rich.cells import cell_len

    for command in (["list"], ["search", "a charity race", "--explain"], ["doctor"], ["stats"]):
        terminal = Terminal(cli, command, columns=columns)
        assert terminal.end() == 0, terminal.plain
        assert max(map(cell_len, terminal.plain.splitlines())) <= columns


def test_the_table_shows_whole_ids_and_cuts_texts(cli: Cli) -> None:
    terminal = Terminal(cli, ["list"])
    assert terminal.end() == 0
    ids = [cube["id"] for cube in cli("list", "--json").lines]
    assert all(cube_id in terminal.plain for cube_id in ids)
    assert "Melanie" in terminal.plain
    assert "…" in terminal.plain


def test_colours_are_for_terminals_that_want_them(cli: Cli) -> None:
    coloured, plain = Terminal(cli, ["list"]), Terminal(cli, ["list"], NO_COLOR="1")
    assert (coloured.end(), plain.end()) == (0, 0)
    assert "\x1b[36m" in coloured.shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain.shown)


def test_an_import_shows_a_bar(cli: Cli) -> None:
    (cli.home / "many.jsonl").write_text("".join(f'{{"role":"user","content":"Line {n}."}}\n' for n in range(600)))
    terminal = Terminal(cli, ["import", "many.jsonl"], columns=100)
    assert terminal.end() == 0
    assert "many.jsonl: 600 new cubes from jsonl" in terminal.plain
    assert re.search(r"many.jsonl .*\d+/600", terminal.plain)


def test_without_a_text_a_person_is_told_to_give_one(cli: Cli) -> None:
    terminal = Terminal(cli, ["add"])
    assert terminal.end() == 2
    assert "give a text, or pipe one in" in terminal.plain
