"""The command line as a process: what a person and a script do from the first memory to the last."""

import json
import sqlite3
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.acceptance.cli_process import PROGRAM, Cli, ForkedCli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    forked = ForkedCli(tmp_path_factory.mktemp("cli"))
    yield forked
    forked.close()


@pytest.fixture(scope="module")
def lisbon(cli: Cli) -> str:
    text = "I moved to Lisbon in May."
    return cli.add(text, "--speaker", "Ana", "--at", "2024-05-31", "--session", "s1", "--label", "home")


def test_an_added_memory_is_found_and_read_again(cli: Cli, lisbon: str) -> None:
    (hit,) = cli("search", "Where is Lisbon?", "--json", "--speaker", "Ana", "-n", "1").lines
    assert hit["id"] == lisbon
    assert hit["rank"] == 1
    assert hit["score"] == pytest.approx(sum(hit["parts"].values()))
    cube = cli("get", lisbon, "--json").json
    expected = {
        "text": "I moved to Lisbon in May.",
        "speaker": "Ana",
        "session": "s1",
        "labels": ["home"],
        "version": 1,
    }
    assert expected.items() <= cube.items()
    assert cube["valid_at"] == "2024-05-31T00:00:00Z", "a date without a time zone is UTC"
    assert {key: value for key, value in hit.items() if key not in ("rank", "score", "parts")} == cube


def test_a_process_of_its_own_says_the_same(cli: Cli, lisbon: str) -> None:
    own = Cli(cli.home)
    for command in (["get", lisbon, "--json"], ["list", "--limit", "1"], ["config"]):
        assert own(*command) == cli(*command)
    assert own("get", "0" * 26, code=3).err == cli("get", "0" * 26, code=3).err


def test_stdout_holds_data_and_stderr_what_is_said_about_it(cli: Cli) -> None:
    done = cli("add", "Tea is at four.", "Supper is at eight.")
    assert len(done.out.split()) == 2
    assert done.err == "added 2 memories\n"
    quiet = cli("add", "Breakfast is at seven.", "--quiet")
    assert len(quiet.out.split()) == 1
    assert quiet.err == ""


def test_text_comes_from_stdin_word_for_word(cli: Cli) -> None:
    text = "  two lines,\n\tпривет 👋 \n"
    (cube_id,) = cli("add", stdin=text + "\n").out.split()
    assert cli("get", cube_id, "--json").json["text"] == text
    (again,) = cli("add", "-", stdin="by a dash", code=0).out.split()
    assert cli("get", again, "--json").json["text"] == "by a dash"


def test_options_stand_before_or_after_the_command(cli: Cli) -> None:
    before = cli("--json", "--user", "bo", "add", "Bo likes rain.").json
    after = cli("list", "--json", "--user", "bo").lines
    assert [cube["id"] for cube in after] == before["ids"]
    assert cli("--user", "bo", "list", "--user", "nobody", "--json").lines == []


def test_a_key_makes_a_retry_add_nothing_and_other_content_a_conflict(cli: Cli) -> None:
    first = cli("add", "Once only.", "--key", "k1", "--json").json
    again = cli("add", "Once only.", "--key", "k1", "--json").json
    assert again == first | {"is_replay": True}
    assert "use a new key" in cli("add", "Something else.", "--key", "k1", code=4).err


def test_a_dry_run_stores_nothing(cli: Cli) -> None:
    before = cli("stats", "--json").json["cubes"]
    assert cli("add", "Never stored.", "--dry-run").out == ""
    assert cli("stats", "--json").json["cubes"] == before


def test_an_unknown_cube_is_exit_code_3(cli: Cli, lisbon: str) -> None:
    unknown = "0" * 26
    for command in (["get", unknown], ["history", unknown], ["restore", unknown], ["explain", unknown]):
        assert cli(*command, code=3).err.startswith("error: cube ")
    cli("get", lisbon, "--version", "9", code=3)
    cli("get", lisbon, "--user", "stranger", code=3)


def test_an_update_makes_a_version_and_a_stale_one_is_a_conflict(cli: Cli) -> None:
    cube_id = cli.add("Tea is at three.")
    assert "now version 2" in cli("update", cube_id, "--expected-version", "1", "--text", "Tea is at four.").err
    stale = cli("update", cube_id, "--expected-version", "1", "--text", "Tea is at nine.", code=4)
    assert "--expected-version 2" in stale.err
    cli("update", cube_id, "--text", "Tea is at nine.", code=2)
    cli("update", cube_id, "--force", "--text", "-", "--label", "meal", stdin="Tea is at five.\n")
    assert [cube["text"] for cube in cli("history", cube_id, "--json").json["versions"]] == [
        "Tea is at three.",
        "Tea is at four.",
        "Tea is at five.",
    ]
    assert cli("get", cube_id, "--version", "1", "--json").json["text"] == "Tea is at three."
    assert cli("restore", cube_id, "--version", "1", "--json").json["text"] == "Tea is at three."


def test_what_is_hidden_comes_back_and_what_is_erased_does_not(cli: Cli) -> None:
    cube_id = cli.add("The gate code is 4711.")
    cli("forget", cube_id, "--act", "expire")
    assert cube_id not in cli("list", "--json", "--limit", "1000").out
    cli("forget", cube_id, "--act", "expire", code=4)
    cli("restore", cube_id)
    gone = cli("forget", cube_id, "--act", "erase", "--json").json
    assert gone["ids"] == [cube_id]
    assert gone["is_scrubbed"] is True
    cli("restore", cube_id, code=3)
    history = cli("history", cube_id, "--json").json
    assert history["versions"] == []
    assert history["tombstone"]["num_versions"] == 3
    assert not any(b"4711" in path.read_bytes() for path in (cli.home / "memory").rglob("*") if path.is_file())


def test_an_erasure_of_many_needs_a_yes_where_nobody_can_be_asked(cli: Cli) -> None:
    ids = [cli.add(f"Zeno said {number}.", "--label", "zeno") for number in range(2)]
    refused = cli("forget", "--act", "erase", "--label", "zeno", code=2)
    assert "--yes" in refused.err
    assert refused.out == ""
    assert len(cli("list", "--label", "zeno", "--json").lines) == 2
    dry = cli("forget", "--act", "erase", "--label", "zeno", "--dry-run", "--json").json
    assert sorted(dry["ids"]) == ids
    done = cli("forget", "--act", "erase", "--subject", "Zeno", "--yes", "--reason", "asked")
    assert sorted(done.out.split()) == ids
    assert cli("list", "--label", "zeno", "--json").lines == []


def test_an_erasure_of_one_by_a_filter_needs_no_yes_and_of_nothing_is_told(cli: Cli) -> None:
    only = cli.add("Only one of these.", "--label", "single")
    assert cli("forget", "--act", "erase", "--label", "single").out.split() == [only]
    assert "erased 0 cubes" in cli("forget", "--act", "erase", "--label", "single").err
    cli("forget", "--act", "erase", code=2)
    cli("forget", "--act", "burn", "--label", "single", code=2)


def test_a_superseded_cube_names_what_is_true_now(cli: Cli) -> None:
    old, new = cli.add("The dog is Rex.", "--at", "2024-01-01"), cli.add("The dog is Max.")
    cli("forget", old, "--act", "supersede", "--by", new, "--at", "2024-06-01")
    assert cli("get", old, "--json").json["invalid_at"] == "2024-06-01T00:00:00Z"
    assert {"relation": "supersedes", "id": old, "version": 2} in cli("get", new, "--json").json["parents"]


def test_a_held_cube_is_not_erased(cli: Cli) -> None:
    cube_id = cli.add("Evidence.", "--hold", "--label", "case")
    cli("forget", cube_id, "--act", "erase", code=5)
    cli("update", cube_id, "--force", "--release")
    cli("forget", cube_id, "--act", "erase")


def test_a_list_goes_on_where_the_page_before_ended(cli: Cli) -> None:
    everything = [cube["id"] for cube in cli("list", "--json", "--limit", "1000").lines]
    first = cli("list", "--limit", "2")
    assert [line.split("\t")[0] for line in first.out.splitlines()] == everything[:2]
    assert f"--after {everything[1]}" in first.err
    assert [cube["id"] for cube in cli("list", "--after", everything[1], "--json", "-n", "1").lines] == everything[2:3]


def test_a_context_fits_its_budget(cli: Cli, lisbon: str) -> None:
    block = cli("context", "Where is Lisbon?", "--budget", "120", "--json").json
    assert block["num_tokens"] <= 120
    assert lisbon in block["ids"]
    plain = cli("context", "Where is Lisbon?", "--budget", "120")
    assert plain.out == block["text"] + "\n"
    assert cli("context", "Where is Lisbon?", "--budget", "0").out == ""


def test_a_question_explains_a_cube(cli: Cli, lisbon: str) -> None:
    placing = cli("explain", lisbon, "Where is Lisbon?", "--json").json["placing"]
    assert placing["rank"] == 1
    assert "lexical" in placing["parts"]
    assert "For the question: place 1 of" in cli("explain", lisbon, "Where is Lisbon?").out
    assert "lexical" in cli("search", "Where is Lisbon?", "-n", "1", "--explain").out


def test_an_import_lists_problems_and_a_second_one_adds_nothing(cli: Cli) -> None:
    chat = cli.home / "chat.jsonl"
    rows = [json.dumps({"role": "user", "content": f"Import line {number}."}) for number in range(3)]
    chat.write_text("\n".join([*rows, "{broken"]) + "\n")
    first = cli("import", "chat.jsonl")
    assert "3 new cubes from jsonl, 1 skipped" in first.out
    assert "line 4" in first.err
    again = cli("import", "chat.jsonl", "--json").json
    assert (again["cubes"], again["known"], again["format"]) == (0, 3, "jsonl")
    assert [one["position"] for one in again["problems"]] == ["line 4"]
    assert "line 4" in cli("import", "chat.jsonl", "--strict", code=1).err
    assert "--format" in cli("import", "chat.jsonl", "-p", "a=1", code=2).err
    cli("import", "chat.jsonl", "--format", "nonsense", code=2)
    both = cli("import", "missing.txt", "chat.jsonl", code=1)
    assert "missing.txt" in both.err
    assert "chat.jsonl: 0 new cubes" in both.out


def test_progress_is_shown_on_stderr_alone_and_only_when_asked_for(cli: Cli) -> None:
    (cli.home / "notes.md").write_text("# Notes\n\nThe roof was mended.\n")
    shown = cli("import", "notes.md", "--progress", "--json")
    assert shown.json["cubes"] == 1
    assert "notes.md" in shown.err
    assert cli("import", "notes.md", "--json").err == ""


def test_a_backup_opens_as_a_memory(cli: Cli, lisbon: str) -> None:
    cli("backup", "copy", "--json")
    assert cli("get", lisbon, "--folder", "copy", "--json").json["text"] == "I moved to Lisbon in May."
    assert "exists already" in cli("backup", "copy", code=1).err


def test_a_dump_loads_elsewhere_word_for_word(cli: Cli, lisbon: str) -> None:
    dumped = cli("dump", "all.engramos", "--json").json
    loaded = cli("load", "all.engramos", "--folder", "elsewhere", "--json").json
    assert (loaded["cubes"], loaded["versions"]) == (dumped["cubes"], dumped["versions"])
    assert cli("get", lisbon, "--folder", "elsewhere", "--json").json == cli("get", lisbon, "--json").json
    again = cli("load", "all.engramos", "--folder", "elsewhere", "--json").json
    assert (again["cubes"], again["known"]) == (0, dumped["cubes"])
    assert "there already" in cli("dump", "all.engramos", code=1).err
    cli("dump", "all.engramos", "--overwrite")
    (cli.home / "broken.engramos").write_bytes(b"not an archive")
    cli("load", "broken.engramos", "--folder", "elsewhere", code=1)
    cli("load", "missing.engramos", code=1)


def test_verify_finds_what_is_damaged_and_repairs_it_from_a_backup(cli: Cli, tmp_path: Path) -> None:
    folder, backup = tmp_path / "damaged", tmp_path / "backup"
    cube_id = cli("add", "Whole and sound.", "--folder", folder).out.strip()
    assert cli("verify", "--folder", folder, "--json").json["is_sound"] is True
    cli("backup", backup, "--folder", folder)
    with closing(sqlite3.connect(folder / "vault.db")) as connection:
        connection.execute("UPDATE versions SET text = 'Whole and wrong.'")
        connection.commit()
    found = cli("verify", "--folder", folder, "--json", code=1).json
    assert found["is_sound"] is False
    assert any(cube_id in one["which"] for one in found["findings"])
    assert "--repair-from" in cli("verify", "--folder", folder, code=1).err
    assert cli("verify", "--folder", folder, "--repair-from", backup, "--json").json["is_sound"] is True
    assert cli("get", cube_id, "--folder", folder, "--json").json["text"] == "Whole and sound."


def test_another_embedder_is_a_conflict_until_reembed(cli: Cli, tmp_path: Path) -> None:
    folder = str(tmp_path / "vectors")
    cli("add", "Vectors of one kind.", "--folder", folder)
    other = "{ method = 'hashing', dims = 64 }".replace("'", '"')
    refused = cli("search", "kind", "--folder", folder, "--embedder", other, code=4)
    assert "engramos reembed" in refused.err
    broken = cli("doctor", "--folder", folder, "--embedder", other, "--json", code=1).json
    assert "engramos reembed" in broken["checks"]["vectors"]["next_step"]
    assert cli("reembed", "--folder", folder, "--embedder", other, "--json").json["vectors"] == 1
    assert len(cli("search", "kind", "--folder", folder, "--embedder", other, "--json").lines) == 1


def test_doctor_shows_settings_with_their_origin_and_no_secret(cli: Cli) -> None:
    done = cli("doctor", "--json", ENGRAMOS_USER="ana").json
    assert done["is_healthy"] is True
    assert done["settings"]["user"] == {"value": "ana", "from": "ENGRAMOS_USER"}
    assert done["settings"]["folder"]["from"] == "default"
    assert done["checks"]["full text"]["status"] == "ok"
    shown = cli("doctor", code=1, ENGRAMOS_EMBEDDER_KEY="sk-very-secret")
    assert "sk-very-secret" not in shown.out + shown.err
    assert "***" in shown.out


def test_config_prints_toml_without_secrets_and_the_path_of_the_file(cli: Cli, tmp_path: Path) -> None:
    printed = cli("config", "--user", 'a"b\\c', ENGRAMOS_EMBEDDER_KEY="sk-very-secret").out
    assert "sk-very-secret" not in printed
    values = tomllib.loads(printed)
    assert values["user"] == 'a"b\\c'
    assert values["embedder_key"] == "***"
    cli("config", "path", code=3)
    cli("config", "paht", code=2)
    file = tmp_path / "settings.toml"
    file.write_text('user = "eve"\n')
    assert cli("config", "path", ENGRAMOS_CONFIG=str(file)).out == f"{file}\n"


def test_a_closed_pipe_ends_quietly(cli: Cli, lisbon: str) -> None:
    line = f"'{PROGRAM}' list --json --limit 1000 | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=cli.home, env=cli.environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)
