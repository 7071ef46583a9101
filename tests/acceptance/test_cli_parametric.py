"""`engramos learn`, `adapters`, `probe`, `rollback`, `ask` and `forget --model` as processes, on a tiny model."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.cli_process import Cli
from tests.acceptance.test_cli_kv import ModelCli, save_model

from engramos.cli.app import WITH_MODEL
from engramos.cli.commands import adapters

MODEL = adapters.MODEL
ID = "0" * 26
WORK, HOME = "Ana Lima works at Acme.", "Bruno Sol lives in Porto."
QUESTION = "Where does Ana Lima work?"
# a random model cannot tell a rewording from another question; everything else must hold
LENIENT = ("--bound", "paraphrase=0")
KNN = ("--model", MODEL, "--writer", "knn", *LENIENT)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    made = ModelCli(tmp_path_factory.mktemp("parametric"))
    save_model(made.home / MODEL)
    save_model(made.home / "other", seed=1)
    yield made
    made.close()


def learned(cli: Cli, user: str) -> tuple[list[str], str]:
    """Return the ids of two memories of a user, and that of the active adapter with their facts."""
    cubes = [cli.add(text, "--user", user) for text in (WORK, HOME)]
    done = cli("learn", *KNN, "--user", user, "--json").json
    (adapter,) = done["adapters"]
    assert adapter["passes"], adapter["failures"]
    return cubes, adapter["id"]


def listed(cli: Cli, user: str) -> dict[str, dict]:
    return {one["id"]: one for one in cli("adapters", "--user", user, "--json").lines}


def asked(cli: Cli, user: str, *more: str) -> dict:
    return cli("ask", QUESTION, "--model", MODEL, "--max-tokens", "8", "--user", user, "--json", *more).json


@pytest.fixture(scope="module")
def ana(cli: Cli) -> tuple[list[str], str]:
    return learned(cli, "ana")


def test_the_plan_is_shown_and_a_dry_run_writes_nothing(cli: Cli) -> None:
    cubes = [cli.add(text, "--user", "plan") for text in (WORK, HOME)]
    low = cli.add("Cleo Roy lives in Oslo.", "--user", "plan", "--trust", "0.2")
    shown = cli("learn", *KNN, "--user", "plan", "--dry-run")
    assert f"1\tAna Lima\t{QUESTION}\tAcme\n" in shown.out
    assert "2 facts for 1 adapter, written by knn: about" in shown.err
    assert "1 memory not trusted enough to train" in shown.err
    done = cli("learn", *KNN, "--user", "plan", "--dry-run", "--json").json
    (shard,) = done["shards"]
    assert [one["sources"][0]["id"] for one in shard["facts"]] == cubes
    assert shard["num_bytes"] > 0
    assert done["distrusted"] == [low]
    assert done["adapters"] == []
    given = ("--question", QUESTION, "--trust-from", "0.1")
    about = cli("learn", *KNN, "--user", "plan", "--dry-run", "--json", *given).json
    assert "Acme" in [fact["answer"] for shard in about["shards"] for fact in shard["facts"]]
    assert about["distrusted"] == []
    assert listed(cli, "plan") == {}


def test_what_fails_its_probes_is_kept_says_why_and_is_active_once_it_passes(cli: Cli) -> None:
    cube = cli.add(WORK, "--user", "strict")
    done = cli("learn", cube, "--model", MODEL, "--writer", "knn", "--user", "strict", code=1)
    assert "is not used: paraphrase is 0 and must be at least 0.8" in done.err
    ((adapter_id, one),) = listed(cli, "strict").items()
    assert (one["state"], one["num_facts"], one["names"], one["recall"]) == ("generated", 1, ["Ana Lima"], 1.0)
    assert f"{adapter_id} is not used: paraphrase" in cli("adapters", "list", "--user", "strict").err
    strict = cli("probe", adapter_id, "--model", MODEL, "--user", "strict", code=1)
    assert "paraphrase\t0.000\tat least 0.8\tno\n" in strict.out
    assert "recall\t1.000\tat least 0.9\tyes\n" in strict.out
    tried = cli("probe", adapter_id, "--model", MODEL, *LENIENT, "--user", "strict", "--dry-run", "--json").json
    assert (tried["passes"], tried["bounds"]["paraphrase"]["is_met"], tried["is_dry_run"]) == (True, True, True)
    assert listed(cli, "strict")[adapter_id]["state"] == "generated"
    cli("probe", adapter_id, "--model", MODEL, *LENIENT, "--user", "strict")
    assert listed(cli, "strict")[adapter_id]["state"] == "activated"


def test_ask_says_which_source_won(cli: Cli, ana: tuple[list[str], str]) -> None:
    cubes, adapter_id = ana
    by_weights = asked(cli, "ana", "--arbitration", "weights_first")
    assert (by_weights["answer"], by_weights["source"], by_weights["adapter"]) == ("Acme", "weights", adapter_id)
    assert cubes[0] in by_weights["memories"]
    assert asked(cli, "ana")["source"] == "context"
    nobody = asked(cli, "ana", "--arbitration", "ask")
    assert (nobody["answer"], nobody["source"], nobody["is_conflict"]) == ("", "nobody", True)
    shown = cli("ask", QUESTION, "--model", MODEL, "--arbitration", "weights_first", "--explain", "--user", "ana")
    assert shown.out == "Acme\n"
    assert "from weights" in shown.err
    assert f"adapter: {adapter_id}" in shown.err
    assert WORK in shown.err


def test_a_user_has_no_adapters_of_another_and_a_model_none_of_another(cli: Cli, ana: tuple[list[str], str]) -> None:
    assert listed(cli, "nobody") == {}
    cli("probe", ana[1], "--model", MODEL, "--user", "nobody", code=3)
    assert "another" in cli("probe", ana[1], "--model", "other", "--user", "ana", code=4).err


def test_what_is_known_is_not_written_again(cli: Cli, ana: tuple[list[str], str]) -> None:
    again = cli("learn", *KNN, "--user", "ana")
    assert "2 facts known already" in again.err
    assert "nothing to write" in again.err
    assert list(listed(cli, "ana")) == [ana[1]]


def test_rollback_and_demote_need_no_model_and_keep_the_memories(cli: Cli) -> None:
    cubes, adapter_id = learned(cli, "back")
    assert cli("rollback", "--dry-run", "--user", "back").out.strip() == adapter_id
    assert listed(cli, "back")[adapter_id]["state"] == "activated"
    done = cli("rollback", adapter_id, "--user", "back", "--json").json
    assert (done["id"], done["restored"]) == (adapter_id, [])
    assert listed(cli, "back")[adapter_id]["state"] == "archived"
    assert "nothing to roll back" in cli("rollback", "--user", "back", code=2).err
    assert asked(cli, "back")["adapter"] is None
    cli("probe", adapter_id, "--model", MODEL, *LENIENT, "--user", "back")
    demoted = cli("adapters", "demote", adapter_id, "--user", "back", "--json").json
    assert (demoted["ids"], set(demoted["sources"]), demoted["changed"]) == ([adapter_id], set(cubes), [])
    assert listed(cli, "back")[adapter_id]["state"] == "archived"
    assert {one["id"] for one in cli("list", "--user", "back", "--json").lines} == {*cubes, adapter_id}


def test_forgetting_without_a_model_says_what_has_left_the_weights(cli: Cli) -> None:
    cubes, adapter_id = learned(cli, "plain")
    tried = cli("forget", cubes[0], "--act", "erase", "--user", "plain", "--dry-run")
    assert "1 fact of other sources would be in weights no more" in tried.err
    assert listed(cli, "plain")[adapter_id]["state"] == "activated"
    gone = cli("forget", cubes[0], "--act", "erase", "--user", "plain")
    assert set(gone.out.split()) == {cubes[0], adapter_id}
    assert "1 fact of other sources is in weights no more: 'engramos learn --model MODEL'" in gone.err
    assert listed(cli, "plain") == {}
    again = cli("learn", *KNN, "--user", "plain", "--json").json
    assert [fact["answer"] for fact in again["shards"][0]["facts"]] == ["Porto"]


def test_what_is_superseded_without_a_model_leaves_a_stale_adapter(cli: Cli) -> None:
    cubes, adapter_id = learned(cli, "stale")
    done = cli("forget", cubes[0], "--act", "supersede", "--user", "stale", "--json").json
    assert (done["ids"], done["facts_left_out"], done["repairs"]) == ([cubes[0]], 1, [])
    one = listed(cli, "stale")[adapter_id]
    assert (one["state"], one["stale"][0]["id"]) == ("stale", cubes[0])
    assert "stale" in cli("adapters", "--user", "stale").out
    assert asked(cli, "stale")["adapter"] is None


@pytest.mark.parametrize("act", ["erase", "supersede"])
def test_forgetting_with_a_model_repairs_the_adapters(cli: Cli, act: str) -> None:
    cubes, adapter_id = learned(cli, act)
    given = ("forget", cubes[0], "--act", act, "--user", act, "--model", MODEL)
    (planned,) = cli(*given, "--dry-run", "--json").json["repairs"]
    assert (planned["adapter_id"], planned["way"], planned["num_kept"]) == (adapter_id, "rows deleted", 1)
    done = cli(*given, *LENIENT)
    assert cubes[0] in done.out.split()
    assert f"adapter {adapter_id} is erased: rows deleted, 1 other fact kept in " in done.err
    ((successor, one),) = listed(cli, act).items()
    assert (one["state"], one["names"], one["num_facts"]) == ("activated", ["Bruno Sol"], 1)
    assert successor != adapter_id


def test_forgetting_a_subject_with_a_model_drops_what_is_left_empty(cli: Cli) -> None:
    cubes, adapter_id = learned(cli, "subject")
    given = ("forget", "--act", "erase", "--model", MODEL, "--user", "subject", "--yes", "--json")
    done = cli(*given, "--subject", "Ana Lima", *LENIENT).json
    assert [one["way"] for one in done["repairs"]] == ["rows deleted"]
    assert set(done["ids"]) == {cubes[0], adapter_id}
    (last,) = cli(*given, "--subject", "Bruno Sol").json["repairs"]
    assert (last["way"], last["successor_id"]) == ("dropped", None)
    assert listed(cli, "subject") == {}
    assert cli(*given, "--subject", "Nobody Here").json["ids"] == []


def test_an_edit_speaks_until_it_is_undone(cli: Cli) -> None:
    words = shlex.split(adapters.EDIT_EXAMPLE)[1:]
    edit_id = cli(*words, "--user", "edits").out.strip()
    one = listed(cli, "edits")[edit_id]
    assert (one["type"], one["state"], one["names"]) == ("edit", "activated", ["Ana Lima"])
    cli("adapters", "undo", edit_id, "--user", "edits")
    assert listed(cli, "edits")[edit_id]["state"] == "archived"
    assert "only active ones" in cli("adapters", "undo", edit_id, "--user", "edits", code=2).err


def test_an_adapter_goes_out_as_a_folder_and_comes_back_unused(cli: Cli) -> None:
    # without a gate an edit is a matrix, which has a form outside
    plain = """'{ method = "rome", gate = 0 }'"""
    words = shlex.split(adapters.EDIT_EXAMPLE.replace("grace", plain))[1:]
    edit_id = cli(*words, "--user", "out", "--json").json["id"]
    out = cli("adapters", "export", edit_id, "ana", "--model", MODEL, "--user", "out")
    assert out.out == "ana\n"
    assert "delete it" in out.err
    assert json.loads((cli.home / "ana" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    cli("adapters", "export", edit_id, "ana", "--model", MODEL, "--user", "out", code=1)
    given = ("adapters", "import", "ana", "--name", "Ana Lima", "--user", "in")
    assert "another" in cli(*given, "--model", "other", code=4).err
    bare = cli(*given, "--model", MODEL, "--json").json
    assert bare["state"] == "generated"
    assert "no source left" in cli("probe", bare["id"], "--model", MODEL, "--user", "in", code=2).err
    cube = cli.add(WORK, "--user", "in")
    taken = cli(*given, "--model", MODEL, "--cube", cube)
    assert f"'engramos probe {taken.out.strip()} --model {MODEL}' examines it" in taken.err
    one = listed(cli, "in")[taken.out.strip()]
    assert (one["state"], one["num_facts"], one["sources"][0]["id"]) == ("generated", 1, cube)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["learn", "--model", "./nowhere"], 2, "there is no folder"),
        (["learn", "--model", MODEL, "--writer", "magic"], 2, "no method 'magic'"),
        (["learn", "--model", MODEL, "--profile", "lax"], 2, "no profile 'lax'"),
        (["learn", "--model", MODEL, "--bound", "recall"], 2, "is no bound"),
        (["learn", "--model", MODEL, "--bound", "recal=1"], 2, "did you mean 'recall'"),
        (["learn", "--model", MODEL, "--trust-from", "2"], 2, "trust_from is 2"),
        (["learn", ID, "--model", MODEL], 3, ID),
        (["learn", ID, "--question", "a", "--model", MODEL], 2, "not by both"),
        (["probe", ID, "--model", MODEL], 3, ID),
        (["ask", "Who?", "--model", MODEL, "--arbitration", "loudest"], 2, "arbitration is 'loudest'"),
        (["adapters", "undo", ID], 3, ID),
        (["adapters", "import", "nowhere", "--model", MODEL], 1, "nowhere"),
        (["adapters", "edit", "It", "--subject", "Ana", "--target", "x", "--model", MODEL], 2, "its subject"),
        (["adapters", "lst"], 2, "No such command"),
        (["forget", ID, "--act", "erase", "--model", MODEL], 3, ID),
    ],
)
def test_wrong_input_is_refused_in_words(cli: Cli, command: list[str], code: int, said: str) -> None:
    assert said in cli(*command, "--user", "wrong", code=code).err


def test_a_memory_is_no_adapter(cli: Cli) -> None:
    cube = cli.add("a text", "--user", "none")
    for command in (["rollback", cube], ["adapters", "demote", cube], ["adapters", "undo", cube]):
        assert "give the id of an adapter" in cli(*command, "--user", "none", code=2).err


def test_without_torch_lists_rollbacks_and_erasures_work(cli: Cli, tmp_path: Path) -> None:
    cubes, adapter_id = learned(cli, "bare")
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    own, path = Cli(cli.home), str(tmp_path)
    assert "pip install 'engramos[" in own("learn", "--model", MODEL, code=1, PYTHONPATH=path).err
    assert adapter_id in own("adapters", "--user", "bare", PYTHONPATH=path).out
    own("rollback", adapter_id, "--user", "bare", PYTHONPATH=path)
    own("adapters", "demote", adapter_id, "--user", "bare", PYTHONPATH=path)
    own("forget", cubes[0], "--act", "erase", "--user", "bare", PYTHONPATH=path)
    assert own("adapters", "--user", "bare", PYTHONPATH=path).out == ""


def test_options_before_and_after_the_name_of_the_group_count(cli: Cli, ana: tuple[list[str], str]) -> None:
    for words in (
        ["--user", "ana", "adapters"],
        ["adapters", "--user", "ana", "list"],
        ["adapters", "list", "--user=ana"],
    ):
        assert ana[1] in cli(*words).out


EXAMPLES = {name: example for name, _, example in WITH_MODEL if name != "chat"}
EXAMPLES |= {f"adapters {name}": example for name, _, example in adapters.COMMANDS}
RUN_ELSEWHERE = ("adapters export", "adapters import", "adapters undo", "adapters edit")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_ends_with_an_example_that_runs(cli: Cli, ana: tuple[list[str], str], name: str) -> None:
    lines = [line.strip() for line in cli(*name.split(), "--help").out.splitlines() if line.strip()]
    at = lines.index("Example")
    assert " ".join(lines[at + 1 :]) == EXAMPLES[name]
    words = shlex.split(EXAMPLES[name].replace("$ID", ana[1]))
    assert words[0] == "engramos"
    if name not in RUN_ELSEWHERE:
        cli(*words[1:], *(LENIENT if name == "probe" else ()), "--user", "ana")
