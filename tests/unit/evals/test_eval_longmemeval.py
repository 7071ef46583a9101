"""LongMemEval: its official metrics, which sessions and turns answer, and how small files become haystacks."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.errors import ConfigError, ImportFailedError
from engramos.evals import ROLE
from engramos.evals.benchmarks._files import read_items
from engramos.evals.benchmarks.longmemeval import official_ndcg_at, official_scores
from engramos.evals.method import read_method
from engramos.evals.run import ask_all, fill, metrics_of, open_memory


def said(text: str, answer: str, *flags: bool) -> list[dict[str, Any]]:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return [turn | {"has_answer": flag} for turn, flag in zip(turns, flags, strict=True)] if flags else turns


def item(name: str, sessions: dict[str, list[dict[str, Any]]], answering: list[str], **changes: Any) -> dict[str, Any]:
    return {
        "question_id": name,
        "question_type": "single-session-user",
        "question": "What is my kitten called?",
        "question_date": "2023/05/30 (Tue) 23:40",
        "answer": "Pixel",
        "answer_session_ids": answering,
        "haystack_dates": [f"2023/05/{20 + number} (Sat) 02:21" for number in range(len(sessions))],
        "haystack_session_ids": list(sessions),
        "haystack_sessions": list(sessions.values()),
    } | changes


def items() -> list[dict[str, Any]]:
    """Return three questions: with flagged turns, without flags, and one that cannot be answered."""
    cat = said("I adopted a kitten called Pixel.", "Congratulations on the kitten called Pixel!", True, True)
    sea = said("Which harbour is the largest?", "Rotterdam is.", False, False)
    return [
        item("q1", {"sea": sea, "answer_1": cat}, ["answer_1"]),
        item(
            "q2",
            {"answer_2": said("My kitten is Dot.", "Cute."), "sea": said("Which harbour?", "Rotterdam.")},
            ["answer_2"],
            question_date=None,
            question_type="multi-session",
        ),
        item("q3_abs", {"sea": sea}, []),
    ]


def write(folder: Path, value: Any = None, name: str = "longmemeval_s.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(items() if value is None else value), encoding="utf-8")
    return folder / name


def test_ndcg_counts_the_first_two_ranks_fully_and_then_by_the_rank_as_the_official_code_does() -> None:
    ranked = ["a", "b", "c", "d", "e"]
    assert official_ndcg_at(ranked, {"a"}, 5) == official_ndcg_at(ranked, {"b"}, 5) == 1.0
    assert official_ndcg_at(ranked, {"d"}, 5) == 0.5
    gain, ideal = 1 + 1 / math.log2(5), 1 + 1 + 1 / math.log2(3)
    assert official_ndcg_at(ranked, {"b", "e", "x"}, 5) == pytest.approx(gain / ideal)
    assert official_ndcg_at(ranked, {"a", "b", "c"}, 2) == 1.0


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.sets(st.sampled_from("abcdef"), min_size=1))
def test_a_perfect_ranking_scores_one_and_none_is_outside_of_zero_to_one(ranked: list[str], gold: set[str]) -> None:
    assert all(0 <= value <= 1 for value in official_scores(ranked, gold, (1, 5)).values())
    perfect = [*gold, *(unit for unit in ranked if unit not in gold)]
    assert set(official_scores(perfect, gold, (6,)).values()) == {1.0}


def test_gold_are_the_answering_sessions_and_the_users_flagged_turns_and_abstentions_are_left_out(
    tmp_path: Path,
) -> None:
    write(tmp_path / "longmemeval")
    loaded = ROLE.make("longmemeval").load(tmp_path)
    expected = {"questions": 3, "abstentions": 1, "dropped": 0, "unreadable_turns": 0, "turn_questions": 1}
    assert loaded.counts == expected
    assert [part.user for part in loaded.parts] == ["q1", "q2"]
    assert [question.gold for question in loaded.questions] == [
        {"session": {"answer_1"}, "turn": {"answer_1:0"}},
        {"session": {"answer_2"}},
    ]
    assert [question.categories for question in loaded.questions] == [("single-session-user",), ("multi-session",)]
    assert [f"{question.asked_at:%m-%d %H:%M:%S}" for question in loaded.questions] == [
        "05-30 23:40:00",
        "05-22 02:21:01",
    ]


def test_a_level_that_a_question_lacks_is_left_out_of_the_means_of_that_level(tmp_path: Path) -> None:
    write(tmp_path)
    benchmark = ROLE.make("longmemeval")
    loaded = benchmark.load(tmp_path)
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        run = ask_all(memory, benchmark, loaded, read_method(["plan=bm25"], "none"))
    assert [set(asked.answers["bm25"].metrics) for asked in run.asked] == [{"session", "turn"}, {"session"}]
    metrics = metrics_of(run, benchmark, "bm25")
    for name in ("session.any@5", "session.all@5", "session.ndcg@10", "turn.any@5", "turn.all@50", "turn.ndcg@5"):
        assert metrics[name] == 1.0
    assert metrics["multi-session.ndcg@10"] == 1.0


def test_the_assistants_turns_do_not_push_the_users_down(tmp_path: Path) -> None:
    answers = {f"s{number}": said("Tell me more.", "The kitten called Pixel, my kitten.") for number in range(6)}
    flagged = said("By the way, somebody in our street found a kitten.", "I see.", True, False)
    write(tmp_path, [item("q", {**answers, "answer_1": flagged}, ["answer_1"])])
    benchmark = ROLE.make("longmemeval")
    loaded = benchmark.load(tmp_path)
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        run = ask_all(memory, benchmark, loaded, read_method(["plan=bm25"], "none"))
    metrics = run.asked[0].answers["bm25"].metrics
    assert (metrics["turn"]["any@5"], metrics["session"]["any@5"]) == (1.0, 0.0)


def test_a_question_without_an_answering_session_is_dropped_and_so_is_an_empty_turn(tmp_path: Path) -> None:
    hollow = [*said("My kitten is Dot.", "Cute."), {"role": "user", "content": ""}]
    other = item("q5", {"answer_1": hollow}, ["answer_1"])
    write(tmp_path, [item("q4", {"sea": said("Hello", "Hi")}, ["answer_9"]), other])
    loaded = ROLE.make("longmemeval").load(tmp_path)
    assert (loaded.counts["dropped"], loaded.counts["unreadable_turns"], len(loaded.parts[0].records)) == (1, 1, 2)


def test_the_full_files_are_taken_by_part_and_s_comes_first(tmp_path: Path) -> None:
    for number, name in enumerate(("longmemeval_s_cleaned.json", "longmemeval_m.json", "longmemeval_oracle.json")):
        write(tmp_path, [items()[0] | {"question_id": f"file {number}"}], name)
    first = {part: ROLE.make("longmemeval", part=part).load(tmp_path) for part in ("", "s", "m", "oracle")}
    assert {part: loaded.parts[0].user for part, loaded in first.items()} == {
        "": "file 0",
        "s": "file 0",
        "m": "file 1",
        "oracle": "file 2",
    }
    with pytest.raises(ConfigError, match="use one of s, m, oracle, mini"):
        ROLE.make("longmemeval", part="l")


def write_mini(folder: Path) -> None:
    evidence = items()[1]
    fillers = [
        {"session_id": f"f{number}", "date": "2023/01/01 (Sun) 02:21", "turns": said(f"Filler {number}", "Fine.")}
        for number in range(30)
    ]
    write(folder / "longmemeval_mini", [evidence], "longmemeval_oracle_items.json")
    write(folder / "longmemeval_mini", [items()[0]], "longmemeval_s_full_items.json")
    write(folder / "longmemeval_mini", fillers, "filler_sessions.json")


def test_oracle_items_are_mixed_among_the_fillers_by_date_the_same_in_every_run(tmp_path: Path) -> None:
    write_mini(tmp_path)
    loaded = ROLE.make("longmemeval").load(tmp_path)
    parts = {part.user: part.records for part in loaded.parts}
    assert len(parts["q1"]) == 4
    mixed = parts["q2"]
    assert len({record.session for record in mixed}) == 32
    starts = [record.at for record in mixed if record.message_id.endswith(":0")]
    assert starts == sorted(starts)
    order = list(dict.fromkeys(record.session for record in mixed))
    assert 3 < order.index("answer_2") < 28
    question = loaded.questions[0]
    assert (question.user, question.gold) == ("q2", {"session": {"answer_2"}})
    assert f"{question.asked_at:%Y-%m-%d}" == "2023-06-04"
    assert all(record.at < question.asked_at for record in mixed)
    assert ROLE.make("longmemeval", part="mini").load(tmp_path).parts == loaded.parts


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"version": 2}, "top level: is no JSON list"),
        ([{"question_id": "q"}], r"items\[0\]: has no 'question' as LongMemEval has"),
        ([items()[0] | {"haystack_dates": []}], "haystack_dates has not one value"),
        ([items()[0] | {"haystack_dates": ["soon", "later"]}], "'soon' is no date"),
        ([items()[0] | {"question_date": "soon"}], r"items\[0\]\.question_date: 'soon' is no date"),
        ([items()[1] | {"haystack_dates": None}], r"items\[0\]: has no date"),
        ([items()[2]], "no question has an answering session"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_place(tmp_path: Path, value: Any, words: str) -> None:
    write(tmp_path, value)
    with pytest.raises(ImportFailedError, match=words):
        ROLE.make("longmemeval").load(tmp_path)


def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=r"longmemeval_s\*\.json: is missing: get it from"):
        ROLE.make("longmemeval").load(tmp_path)
    write_mini(tmp_path)
    with pytest.raises(ImportFailedError, match=r"longmemeval_m\*\.json: is missing"):
        ROLE.make("longmemeval", part="m").load(tmp_path)
    (tmp_path / "longmemeval_mini" / "filler_sessions.json").unlink()
    with pytest.raises(ImportFailedError, match=r"filler_sessions\.json: file: does not exist"):
        ROLE.make("longmemeval").load(tmp_path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.999])
def test_a_file_that_is_cut_off_is_refused_before_any_work(tmp_path: Path, share: float) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * share))])
    with pytest.raises(ImportFailedError, match=r"cut off|neither a comma nor the list's end"):
        ROLE.make("longmemeval").load(tmp_path)


@given(value=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(), max_size=3)))
def test_a_long_list_is_read_piece_by_piece_as_json_reads_it(tmp_path_factory: Any, value: list[Any]) -> None:
    path = tmp_path_factory.mktemp("lists") / "list.json"
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
    assert list(read_items(path, chunk=7)) == value


def test_the_small_files_make_haystacks_of_about_a_hundred_sessions() -> None:
    data = os.environ.get("ENGRAMOS_DATA")
    if not data or not list(Path(data, "longmemeval_mini").glob("*_items.json")):
        pytest.skip("ENGRAMOS_DATA names no folder with longmemeval_mini")
    loaded = ROLE.make("longmemeval", part="mini").load(Path(data))
    sizes = [len({record.session for record in part.records}) for part in loaded.parts]
    assert sum(size >= 95 for size in sizes) >= 10
    assert loaded.counts["abstentions"] == 2
    assert all(question.gold["session"] for question in loaded.questions)
