"""LoCoMo and LongMemEval: small files written here, and the real ones where they are at hand."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engramos.errors import ImportFailedError
from engramos.importers.base import detect
from engramos.importers.locomo import Locomo
from engramos.importers.longmemeval import Longmemeval
from engramos.messages import Message, Problem

IMPORTS = Path(__file__).parents[2] / "data" / "imports"


@pytest.fixture
def real_file():
    def find(name):
        folder = os.environ.get("ENGRAMOS_DATA")
        if not folder or not (Path(folder) / name).is_file():
            pytest.skip(f"set ENGRAMOS_DATA to a folder that holds {name}")
        return Path(folder) / name

    return find


def test_locomo_turns_have_session_time_speaker_and_caption():
    found = list(Locomo().read(IMPORTS / "locomo.json"))
    assert [one.message_id for one in found] == ["D1:1", "D1:2", "D1:3", "D2:1", "D1:1"]
    assert found[1] == Message(
        "My cello! [image: a photo of a cello]",
        speaker="Ana",
        at=datetime(2023, 2, 28, 13, 56, 1, tzinfo=UTC),
        session="conv-1/session_1",
        message_id="D1:2",
    )
    assert found[3].at == datetime(2023, 3, 1, 0, 5, tzinfo=UTC)
    assert found[4].at is None


def test_one_sample_or_question_alone_is_read_by_its_name():
    found = list(Locomo(sample="conv-2").read(IMPORTS / "locomo.json"))
    assert [one.session for one in found] == ["conv-2/session_1"]
    found = list(Longmemeval(question="q2").read(IMPORTS / "longmemeval.json"))
    assert [one.text for one in found] == ["Two cats."]
    with pytest.raises(ImportFailedError, match="conv-1, conv-2"):
        list(Locomo(sample="conv-3").read(IMPORTS / "locomo.json"))
    with pytest.raises(ImportFailedError, match="q3"):
        list(Longmemeval(question="q3").read(IMPORTS / "longmemeval.json"))


@pytest.mark.parametrize(
    "date", ["13:56 pm on 8 May, 2023", "1:56 pm on 31 June, 2023", "1:56 pm on 8 Mei, 2023", "", 5]
)
def test_a_wrong_date_of_a_locomo_session_is_one_problem(date, tmp_path):
    samples = json.loads((IMPORTS / "locomo.json").read_text())
    samples[0]["conversation"]["session_1_date_time"] = date
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps(samples))
    problem, *rest = Locomo().read(path)
    assert isinstance(problem, Problem)
    assert problem.position == "samples[0].conversation.session_1_date_time"
    assert "3 turns of session_1 are left out" in problem.problem
    assert [one.message_id for one in rest] == ["D2:1", "D1:1"]


def test_longmemeval_turns_have_session_time_and_number():
    found = list(Longmemeval().read(IMPORTS / "longmemeval.json"))
    assert [one.message_id for one in found] == ["s1:0", "s1:1", "s1:2", "s2:0", "s3:0"]
    assert found[1] == Message(
        "Enjoy it.",
        "assistant",
        at=datetime(2023, 5, 20, 2, 21, 1, tzinfo=UTC),
        session="s1",
        message_id="s1:1",
    )


@pytest.mark.parametrize("date", ["2023/02/30 (Thu) 02:21", "20 May 2023", "", 5])
def test_a_wrong_date_of_a_longmemeval_session_is_one_problem(date, tmp_path):
    items = json.loads((IMPORTS / "longmemeval.json").read_text())
    items[0]["haystack_dates"][0] = date
    path = tmp_path / "items.json"
    path.write_text(json.dumps(items))
    problem, *rest = Longmemeval().read(path)
    assert problem.position == "items[0].haystack_dates[0]"
    assert [one.message_id for one in rest] == ["s2:0", "s3:0"]


def test_a_haystack_with_too_few_dates_is_refused_whole(tmp_path):
    items = json.loads((IMPORTS / "longmemeval.json").read_text())
    items[0]["haystack_dates"].pop()
    path = tmp_path / "items.json"
    path.write_text(json.dumps(items))
    problem, rest = Longmemeval().read(path)
    assert problem.position == "items[0]"
    assert rest.text == "Two cats."


def test_every_turn_of_the_real_locomo_file_is_read(real_file):
    path = real_file("locomo/locomo_dev6.json")
    turns = [
        (turn, f"{sample['sample_id']}/{key}")
        for sample in json.loads(path.read_text())
        for key in sorted(sample["conversation"], key=lambda key: int(re.sub(r"\D", "", key) or 0))
        if re.fullmatch(r"session_\d+", key)
        for turn in sample["conversation"][key]
    ]
    found = list(detect(path).read(path))
    assert [(one.message_id, one.session, one.speaker) for one in found] == [
        (turn["dia_id"], session, turn["speaker"]) for turn, session in turns
    ]
    assert all(one.text.startswith(turn["text"]) for one, (turn, _) in zip(found, turns, strict=True))
    assert all(one.at is not None for one in found)
    assert found[0].at == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


@pytest.mark.parametrize("name", ["longmemeval_oracle_items.json", "longmemeval_s_full_items.json"])
def test_every_turn_of_the_real_longmemeval_files_is_read(name, real_file):
    path = real_file(f"longmemeval_mini/{name}")
    items = json.loads(path.read_text())
    turns = [turn for item in items for session in item["haystack_sessions"] for turn in session]
    found = list(detect(path).read(path))
    assert [one.text for one in found] == [turn["content"] for turn in turns]
    one = list(Longmemeval(question=items[1]["question_id"]).read(path))
    assert len(one) == sum(len(session) for session in items[1]["haystack_sessions"])
