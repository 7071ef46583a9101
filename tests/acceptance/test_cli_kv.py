"""`engramos kv` and `engramos chat` as processes, on a tiny model in a folder."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.acceptance.cli_process import PROGRAM, Cli, ForkedCli

from engramos.cli.commands import chat, kv
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

FORKS = Path(__file__).with_name("cli_forks.py")
MODEL = kv.MODEL
TEXT = "The roof was mended in March."


class ModelCli(ForkedCli):
    """The command line forked from a process that has loaded torch too."""

    def __init__(self, home: Path) -> None:
        Cli.__init__(self, home)
        program = (
            "import runpy, torch, engramos.engines.transformers\n"
            "import transformers.models.llama.modeling_llama\n"
            f"torch.set_num_threads(1)\nrunpy.run_path({str(FORKS)!r}, run_name='__main__')"
        )
        self.parent = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            text=True,
        )


def save_model(folder: Path, seed: int = 0) -> None:
    torch.set_num_threads(1)
    tiny_model(seed=seed).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    made = ModelCli(tmp_path_factory.mktemp("kv"))
    save_model(made.home / MODEL)
    save_model(made.home / "other", seed=1)
    (made.home / "notes.md").write_text(f"# Notes\n\n{TEXT}\n")
    yield made
    made.close()


@pytest.fixture(scope="module")
def built(cli: Cli) -> str:
    return cli("kv", "build", TEXT, "--title", "roof", "--model", MODEL).out.strip()


def test_what_is_built_is_listed_with_its_size(cli: Cli, built: str) -> None:
    (cube,) = [one for one in cli("kv", "list", "--json").lines if one["id"] == built]
    assert (cube["title"], cube["num_tokens"], cube["codec"], cube["stale"]) == ("roof", len(TEXT), "int8", [])
    assert built in cli("kv", "list").out
    again = cli("kv", "build", TEXT, "--model", MODEL, "--json").json
    assert (again["id"], again["is_new"]) == (built, False)
    assert built not in cli("kv", "list", "--user", "nobody").out


def test_an_attached_cube_answers_and_a_foreign_one_is_refused(cli: Cli, built: str) -> None:
    done = cli("kv", "attach", built, "--model", MODEL, "--prompt", " Who did it?", "--max-tokens", "4", "--json").json
    assert (done["num_tokens"], done["reason"]) == (len(TEXT), "max_tokens")
    assert "another weights" in cli("kv", "attach", built, "--model", "other", code=4).err
    cli("kv", "attach", built, "--model", MODEL, "--tenant", "other", code=3)
    cli("kv", "attach", "0" * 26, "--model", MODEL, code=3)


def test_explain_says_how_much_is_stored(cli: Cli, built: str) -> None:
    assert cli("kv", "explain", TEXT, "--model", MODEL, "--json").json["reason"] == "hit"
    found = cli("kv", "explain", TEXT[:9] + "!", "--model", MODEL)
    assert found.out == "partial: 9 of 10 tokens are stored\n"
    assert cli("kv", "explain", TEXT, "--model", "other", "--json").json["differences"] == ["weights"]


def test_a_cube_of_memories_goes_stale_and_is_erased_with_them(cli: Cli) -> None:
    source = cli.add("Miso is a cat.")
    promoted = cli("kv", "build", "--cube", source, "--model", MODEL).out.strip()
    cli("update", source, "--force", "--text", "Miso is a dog.")
    (row,) = [one for one in cli("kv", "list", "--json").lines if one["id"] == promoted]
    assert row["stale"] == [{"id": source, "version": 1, "why": "version 2"}]
    assert "stale" in cli("kv", "attach", promoted, "--model", MODEL, code=2).err
    gone = cli("forget", source, "--act", "erase", "--json").json
    assert set(gone["ids"]) == {source, promoted}
    assert promoted not in cli("kv", "list").out


def test_a_dropped_cube_is_gone_and_a_text_is_not_dropped(cli: Cli) -> None:
    cube_id = cli("kv", "build", "to be dropped", "--model", MODEL).out.strip()
    assert cli("kv", "drop", cube_id, "--dry-run").out.strip() == cube_id
    assert cli("kv", "drop", cube_id, "--json").json["is_scrubbed"]
    cli("kv", "drop", cube_id, code=3)
    assert "KV cube" in cli("kv", "drop", cli.add("a text"), code=2).err


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["build", "--model", MODEL], 2, "say what to read"),
        (["build", "a", "--question", "b", "--model", MODEL], 2, "only one of them"),
        (["build", "a", "--model", "./nowhere"], 2, "there is no folder"),
        (["build", "a", "--model", MODEL, "--codec", "zip"], 2, "no method 'zip'"),
        (["build", "a", "--model", MODEL, "--dtype", "int3"], 2, "dtype"),
        (["build", "a", "--model", MODEL, "--disk-bytes", "0"], 2, "disk_bytes"),
        (["build", "a" * 5_000, "--model", MODEL], 2, "5000 tokens"),
        (["explain", "--model", MODEL], 2, "say which prompt"),
        (["list", "--model", MODEL], 2, "No such option"),
    ],
)
def test_wrong_input_is_refused_in_words(cli: Cli, command: list[str], code: int, said: str) -> None:
    assert said in cli("kv", *command, code=code).err


def test_without_torch_the_extra_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    own = Cli(cli.home)
    for command in (["kv", "build", "a", "--model", MODEL], ["chat", "--model", MODEL]):
        assert "pip install 'engramos[local]'" in own(*command, code=1, PYTHONPATH=str(tmp_path)).err
    own("kv", "list", PYTHONPATH=str(tmp_path))


# What a model says


@pytest.fixture
def hostile(cli: Cli) -> str:
    """Return the name of a model whose every word is an escape."""
    folder = cli.home / "hostile"
    save_model(folder)
    model = tiny_model()
    torch.nn.init.zeros_(model.lm_head.weight)  # all scores are equal, so the first token is the greatest
    model.save_pretrained(folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    first = next(word for word, number in words.items() if number == 0)
    escape = tiny_tokenizer().tokenize("\x1b")[0]
    words[first], words[escape] = words[escape], 0
    path.write_text(json.dumps(tokenizer))
    return folder.name


def test_what_a_model_says_does_not_steer_a_terminal_not_even_through_a_pipe(cli: Cli, hostile: str) -> None:
    more = ("--model", hostile, "--max-tokens", "2", "--user", "hostile")
    built = cli("kv", "build", TEXT, "--model", hostile, "--title", "red: \x1b[31m", "--user", "hostile").out.strip()
    assert cli("kv", "attach", built, "--prompt", "a", *more).out == "\\x1b\\x1b\n"
    assert cli("kv", "attach", built, "--prompt", "a", *more, "--json").json["answer"] == "\x1b\x1b"
    assert "red: \\x1b[31m" in cli("kv", "list", "--user", "hostile").out
    assert cli("chat", *more, stdin="a\n").out == "\\x1b\\x1b\n"
    assert cli("ask", "a", *more).out == "\\x1b\\x1b\n"
    assert cli("ask", "a", *more, "--json").json["answer"] == "\x1b\x1b"


# A talk


def talk(cli: Cli, *lines: str, user: str, more: tuple[str, ...] = ()) -> list[dict]:
    arguments = ("chat", "--model", MODEL, "--max-tokens", "5", "--json", "--user", user, *more)
    return cli(*arguments, stdin="".join(f"{line}\n" for line in lines)).lines


def test_a_talk_is_remembered_and_read_once(cli: Cli) -> None:
    turns = talk(cli, "I like tea.", "And rain.", "/quit", "never said", user="tea")
    assert [turn["question"] for turn in turns] == ["I like tea.", "And rain."]
    assert turns[0]["cached_tokens"] == 0
    assert turns[1]["cached_tokens"] >= turns[0]["prompt_tokens"]
    plain = talk(cli, "I like tea.", "And rain.", user="plain", more=("--no-kv",))
    assert [turn["answer"] for turn in plain] == [turn["answer"] for turn in turns]
    assert [turn["cached_tokens"] for turn in plain] == [0, 0]
    said = [cube["text"] for cube in cli("list", "--user", "tea", "--json").lines]
    assert said == ["I like tea.", turns[0]["answer"], "And rain.", turns[1]["answer"]]


def test_a_later_talk_gets_what_was_said_in_an_earlier_one(cli: Cli) -> None:
    talk(cli, "My cat is called Miso.", user="cats")
    (turn,) = talk(cli, "What is my cat called?", user="cats")
    assert turn["memories"]
    texts = [cli("get", one, "--user", "cats", "--json").json["text"] for one in turn["memories"]]
    assert "My cat is called Miso." in texts


def test_a_talk_for_people_streams_text_and_shows_what_was_found(cli: Cli) -> None:
    cli("add", "Miso is a cat.", "--user", "people")
    lines = "Who is Miso?\n\n/memory\n/nothing\n"
    done = cli("chat", "--model", MODEL, "--max-tokens", "5", "--user", "people", "--system", "Be kind.", stdin=lines)
    assert "prompt tokens were cached" in done.err
    assert "Miso is a cat." in done.err
    assert "there is no command /nothing" in done.err
    assert done.out.endswith("\n")


def test_a_talk_that_outgrows_the_window_goes_on_and_one_turn_that_does_is_refused(cli: Cli) -> None:
    turns = talk(cli, *(f"{number} {'word ' * 300}" for number in range(4)), user="long")
    assert len(turns) == 4
    assert turns[-1]["prompt_tokens"] < 4_096
    done = cli("chat", "--model", MODEL, "--max-tokens", "2", "--user", "longer", stdin="x" * 5_000 + "\nshort\n")
    assert "5" in done.err
    assert "error: the input has" in done.err


def test_ctrl_c_ends_a_talk_cleanly(cli: Cli) -> None:
    arguments = [PROGRAM, "chat", "--model", MODEL, "--max-tokens", "3", "--json", "--user", "ctrl"]
    process = subprocess.Popen(
        arguments,
        cwd=cli.home,
        env=cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["question"] == "hello"
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error.decode()
    assert b"Traceback" not in error


EXAMPLES = {"chat": chat.EXAMPLE} | {f"kv {name}": example for name, _, example in kv.COMMANDS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_ends_with_an_example_that_runs(cli: Cli, built: str, name: str) -> None:
    lines = [line.strip() for line in cli(*name.split(), "--help").out.splitlines() if line.strip()]
    at = lines.index("Example")
    assert " ".join(lines[at + 1 :]) == EXAMPLES[name]
    if name == "kv drop":
        built = cli("kv", "build", "for the example", "--model", MODEL).out.strip()
    words = shlex.split(EXAMPLES[name].replace("$ID", built))
    assert words[0] == "engramos"
    cli(*words[1:])
