"""The plot of a result, read as the text and lines of an SVG file."""

import random
import re
from pathlib import Path

import pytest

from engramos.errors import ConfigError, StoreError
from engramos.evals.plot import check_installed, draw

GROUPS = [["100K", "1M"], ["temporal", "ordering"]]


def made_result(kinds: tuple[str, ...], level: str = "") -> dict:
    numbers = random.Random(5)

    def metrics() -> dict[str, float]:
        found = {f"{level}.{kind}" if level else kind: numbers.random() for kind in kinds}
        for category in (name for group in GROUPS for name in group):
            found |= {f"{category}.{kind}": numbers.random() for kind in kinds} | {f"{category}.questions": 1_200.0}
        return found

    baselines = {name: metrics() for name in ("bm25", "dense")}
    own = metrics() | {"search_p50_ms": 3.0}
    return {"benchmark": "beam", "method": "default", "settings": {"asked": 4_800}} | {
        "metrics": own,
        "baselines": baselines,
    }


def texts(path: Path) -> list[str]:
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())]


def test_the_plot_names_each_method_each_depth_and_each_category(tmp_path: Path) -> None:
    result, path = made_result(("fraction@5", "fraction@10"), "turn"), tmp_path / "new" / "plot.svg"
    draw(result, ("fraction@10",), GROUPS, path)
    words = texts(path)
    for one in ("beam, 4,800 questions", "engramos (default)", "bm25", "dense", "turn.fraction@k", "5", "10"):
        assert one in words
    assert f"{result['metrics']['turn.fraction@10']:.3f}" in words
    assert {"100K (1,200)", "1M (1,200)", "temporal (1,200)", "ordering (1,200)"} <= set(words)
    assert "search_p50_ms" not in words


def test_categories_are_sorted_within_their_group_by_what_is_ours(tmp_path: Path) -> None:
    result, path = made_result(("fraction@5", "fraction@10"), "turn"), tmp_path / "plot.svg"
    own = result["metrics"]
    draw(result, ("fraction@10",), GROUPS, path)
    wanted = [sorted(group, key=lambda name: -own[f"{name}.fraction@10"]) for group in GROUPS]
    shown = [text.split(" (")[0] for text in texts(path) if text.endswith("(1,200)")]
    assert shown == [name for group in wanted for name in group]


def test_a_category_within_another_is_left_to_the_table(tmp_path: Path) -> None:
    result, path = made_result(("fraction@5", "fraction@10"), "turn"), tmp_path / "plot.svg"
    result["metrics"] |= {"1M.ordering.fraction@10": 0.5, "1M.ordering.questions": 7.0}
    result["baselines"]["bm25"]["1M.ordering.fraction@10"] = 0.5
    draw(result, ("fraction@10",), [*GROUPS, ["1M.ordering"]], path)
    assert "ordering (1,200)" in texts(path)
    assert "1M.ordering (7)" not in texts(path)


def test_metrics_without_depths_stand_in_the_place_of_the_curve(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    draw(made_result(("newest", "stale")), ("newest",), GROUPS, path)
    words = texts(path)
    assert {"newest", "stale", "all questions", "newest by category (number of questions)"} <= set(words)
    assert "k" not in words


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(made_result(("fraction@5", "fraction@10"), "turn"), ("fraction@10",), GROUPS, tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"plot.{suffix}"
    draw(made_result(("fraction@10",), "turn"), ("fraction@10",), [], path)
    assert path.read_bytes().startswith(start)


def test_an_unknown_format_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match=r"plot\.bmp has no known format: end its name with \.png"):
        check_installed(Path("plot.bmp"))


def test_a_place_that_cannot_be_written_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        draw(made_result(("fraction@10",), "turn"), ("fraction@10",), GROUPS, tmp_path / "file" / "plot.png")
