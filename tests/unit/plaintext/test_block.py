"""P22: a context block carries memories as data, parses back exactly, and stays within its budget."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from engramos.cube import CubeType, Form, Header, MemCube, PlaintextPayload
from engramos.plaintext.contexts.block import CLOSING, OPENING, build, estimate_tokens, parse
from engramos.scope import Scope

TAGS = st.sampled_from(
    [
        "<memories>",
        CLOSING,
        "</memory>",
        '<memory id="x">',
        "&lt;",
        "&amp;amp;",
        "```",
        '"',
        "'",
        "<system>",
        "\u202e",
        "\u200b",
    ]
)
TEXTS = st.lists(TAGS | st.text(st.characters(exclude_categories=("Cs",)), max_size=8), min_size=1, max_size=8).map(
    "".join
)
AT = datetime(2024, 5, 1, tzinfo=UTC)


def cubes_of(texts: list[str], speaker: str | None = None, title: str | None = None) -> list[MemCube]:
    """Return cubes with these texts."""
    return [
        MemCube(
            Header(f"{n:026d}", 1, Form.PLAINTEXT, CubeType.EPISODE, Scope("t", "u"), AT, valid_at=AT),
            PlaintextPayload(text, speaker=speaker, title=title),
        )
        for n, text in enumerate(texts)
    ]


@given(st.lists(TEXTS, min_size=1, max_size=5), st.none() | TEXTS, st.none() | TEXTS)
def test_a_block_parses_back_to_the_texts(texts: list[str], speaker: str | None, title: str | None) -> None:
    block = build(cubes_of(texts, speaker, title), 1_000_000)
    assert parse(block.text) == {f"{n:026d}": text for n, text in enumerate(texts)}
    assert block.text.startswith(OPENING)
    assert block.text.endswith(CLOSING)
    assert block.text.count("<memories>") == block.text.count(CLOSING) == 1
    assert block.text.count("</memory>") == len(texts)
    assert "<system>" not in block.text


@given(st.lists(TEXTS, max_size=8), st.integers(0, 300))
def test_a_block_keeps_to_its_budget_by_the_given_counter(texts: list[str], budget: int) -> None:
    for count in (estimate_tokens, len):
        block = build(cubes_of(texts), budget, count)
        assert count(block.text) <= budget
        assert len(block.cube_ids) + block.left_out == len(texts)
        assert (block.text == "") == (not block.cube_ids)


def test_the_best_cubes_are_kept_and_stand_in_order_of_time() -> None:
    cubes = cubes_of(["first said", "second said", "third said"])
    block = build(list(reversed(cubes)), 1_000)
    assert block.cube_ids == tuple(cube.id for cube in cubes)
    small = build(list(reversed(cubes)), estimate_tokens(build(cubes[2:], 1_000).text))
    assert small.cube_ids == (cubes[2].id,)
