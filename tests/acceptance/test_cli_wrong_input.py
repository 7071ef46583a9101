"""Wrong input of many sorts: one line that says what to do, the right exit code, and never a traceback."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.cli_process import Cli, ForkedCli

ID = "0" * 26
WRONG: dict[str, tuple[list[str | bytes], bytes, int]] = {
    "binary stdin": (["add"], b"\x00\xff\xfe\x80", 2),
    "a NUL on stdin": (["add"], b"one\0two", 2),
    "nothing on stdin": (["add"], b"", 2),
    "white space": (["add", "   "], b"", 2),
    "half of a surrogate pair": (["add", b"\xed\xa0\x80"], b"", 2),
    "an argument that is no UTF-8": (["search", b"\xff\xfe"], b"", 2),
    "a wrong date": (["add", "x", "--at", "yesterday"], b"", 2),
    "a date that is none": (["list", "--as-of", "2024-02-31"], b"", 2),
    "a date beyond all years": (["list", "--since", "9999-12-31T23:59:59-23:00"], b"", 2),
    "a negative limit": (["search", "x", "-n", "-1"], b"", 2),
    "a limit beyond all": (["list", "--limit", "99999999999999999999"], b"", 2),
    "a limit that is no number": (["list", "--limit", "many"], b"", 2),
    "a negative budget": (["context", "x", "--budget", "-5"], b"", 2),
    "too much trust": (["add", "x", "--trust", "1.5"], b"", 2),
    "trust that is no number": (["add", "x", "--trust", "nan"], b"", 2),
    "an unknown type": (["add", "x", "--type", "dream"], b"", 2),
    "an unknown type in a filter": (["list", "--type", "dream"], b"", 2),
    "a label with a bar": (["add", "x", "--label", "a|b"], b"", 2),
    "a time span that is none": (["add", "x", "--keep-for", "soon"], b"", 2),
    "a time span beyond all": (["add", "x", "--keep-for", "999999999w"], b"", 2),
    "a time span past the last year": (["add", "x", "--keep-for", "99999999d"], b"", 2),
    "a query that does not parse": (["list", "--match", '"open'], b"", 2),
    "an id of another shape": (["get", "../../etc/passwd"], b"", 3),
    "an id that does not print": (["get", "a\nb"], b"", 2),
    "an empty id": (["get", ""], b"", 2),
    "version 0": (["get", ID, "--version", "0"], b"", 3),
    "a grant without a right": (["update", ID, "--force", "--grant", "ana"], b"", 2),
    "a user that does not print": (["list", "--user", "\x1b[31m"], b"", 2),
    "an unknown embedder": (["list", "--embedder", "magic"], b"", 2),
    "an embedder that is no TOML": (["list", "--embedder", "{ method"], b"", 2),
    "an unknown command": (["serch", "x"], b"", 2),
    "an unknown option": (["search", "x", "--spekaer", "Ana"], b"", 2),
    "a missing argument": (["search"], b"", 2),
    "too many arguments": (["search", "one", "two"], b"", 2),
    "nothing to update": (["update", ID, "--force"], b"", 2),
    "an import of nothing there": (["import", "nothing.json"], b"", 1),
    "an import of a folder": (["import", "."], b"", 1),
    "ids and a filter": (["forget", ID, "--act", "expire", "--label", "a"], b"", 2),
    "two readings of stdin": (["add", "-", "-"], b"x", 2),
}


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    forked = ForkedCli(tmp_path_factory.mktemp("wrong"))
    forked("add", "The only memory.", ENGRAMOS_FOLDER="wrong")
    yield forked
    forked.close()


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_line_with_the_right_code(cli: Cli, what: str) -> None:
    arguments, stdin, code = WRONG[what]
    done = cli(*arguments, stdin=stdin, code=code, ENGRAMOS_FOLDER="wrong")
    assert done.out == ""
    errors = [line for line in done.err.splitlines() if not line.startswith("made a new")]
    assert len(errors) == 1, done.err
    assert errors[0].startswith("error: ")
    assert "fault of engramos" not in errors[0]
    assert len(errors[0]) > 25, "it must say what to do"


def test_nothing_of_all_that_was_stored(cli: Cli) -> None:
    assert [cube["text"] for cube in cli("list", "--json", ENGRAMOS_FOLDER="wrong").lines] == ["The only memory."]


def test_a_text_beyond_the_limit_is_refused(cli: Cli) -> None:
    assert "split it" in cli("add", stdin="x" * 1_000_001, code=5).err


def test_a_foreign_folder_is_refused_with_the_next_step(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "vault.db").write_bytes(b"this is no database at all")
    assert "choose another folder" in cli("list", "--folder", tmp_path, code=1).err
    (tmp_path / "vault.db").unlink()
    with sqlite3.connect(tmp_path / "vault.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    assert "choose another folder" in cli("add", "x", "--folder", tmp_path, code=1).err
    checks = cli("doctor", "--folder", tmp_path, "--json", code=1).json["checks"]
    assert "choose another folder" in checks["memory"]["next_step"]


def test_a_file_in_the_place_of_the_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "choose a folder that is writable" in cli("add", "x", "--folder", file, code=1).err
    cli("doctor", "--folder", file, "--json", code=1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_with_the_next_step(cli: Cli, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "writable" in cli("add", "x", "--folder", tmp_path / "new", code=1).err
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_folder_that_nobody_can_make_is_refused_with_the_next_step(cli: Cli) -> None:
    for folder in ("/proc/memory", "/dev/null/memory"):
        assert "choose a folder that is writable" in cli("add", "x", "--folder", folder, code=1).err
        assert cli("doctor", "--folder", folder, "--json", code=1).json["is_healthy"] is False


def test_a_settings_file_that_is_no_toml_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "engramos.toml"
    file.write_text("user = [")
    assert str(file) in cli("list", code=2, ENGRAMOS_CONFIG=str(file)).err
    file.write_text('usr = "ana"\n')
    assert "'user'" in cli("list", code=2, ENGRAMOS_CONFIG=str(file)).err
    assert "'user'" in cli("doctor", code=1, ENGRAMOS_CONFIG=str(file)).out


def test_stored_escape_sequences_do_not_reach_a_terminal(cli: Cli) -> None:
    cube_id = cli.add("red: \x1b[31m and \u202ebackwards")
    for command in (["get", cube_id], ["list"], ["search", "red"], ["history", cube_id]):
        out = cli(*command).out
        assert "\\x1b[31m" in out
        assert "\u202e" not in out
    assert cli("get", cube_id, "--json").json["text"] == "red: \x1b[31m and \u202ebackwards"
