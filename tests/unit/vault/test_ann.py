"""Nearest-neighbour indexes: each method finds what exact search finds, and refuses what does not fit."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from engramos.errors import ConfigError, MissingExtraError, StoreError
from engramos.vault.ann import ROLE

NEEDS = {"qdrant": "qdrant_edge"}
METHODS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None, reason=f"{NEEDS.get(name)} is missing"
        ),
    )
    for name in ROLE.names()
]


def units(seed: int, num: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((30, 96))
    rows = centres[random.integers(0, 30, num)] + random.standard_normal((num, 96))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("name", METHODS)
def test_nineteen_of_twenty_of_the_ten_best_are_found(name: str, tmp_path: Path) -> None:
    vectors, questions = units(1, 4_000), units(2, 60).astype(np.float32)
    method = ROLE.make(name)
    method.build(tmp_path, vectors)
    opened = method.open(tmp_path)
    shares = []
    for question in questions:
        best = np.argsort(-(vectors.astype(np.float32) @ question))[:10]
        found = opened.find(question, 100)
        assert len(set(found.tolist())) == len(found) == 100
        shares.append(np.isin(best, found).mean())
    opened.close()
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("num", [1, 2, 5])
def test_a_few_vectors_are_all_found(name: str, num: int, tmp_path: Path) -> None:
    vectors = units(3, num)
    method = ROLE.make(name)
    method.build(tmp_path, vectors)
    opened = method.open(tmp_path)
    assert sorted(opened.find(vectors[0].astype(np.float32), 50).tolist()) == list(range(num))
    opened.close()


@pytest.mark.parametrize("name", METHODS)
def test_equal_vectors_are_no_trouble(name: str, tmp_path: Path) -> None:
    vectors = np.repeat(units(3, 1), 300, axis=0)
    method = ROLE.make(name)
    method.build(tmp_path, vectors)
    opened = method.open(tmp_path)
    assert len(opened.find(vectors[0].astype(np.float32), 10)) == 10
    opened.close()


@pytest.mark.parametrize("name", METHODS)
def test_a_folder_without_an_index_is_an_error_of_the_store(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        ROLE.make(name).open(tmp_path / "nothing")


@pytest.mark.parametrize(
    "wrong",
    ["{ method = 'lists', most_read = 0 }", "{ method = 'lists', border = -1.0 }", "{ method = 'qdrant', m = 1 }"],
)
def test_a_parameter_that_does_not_fit_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        ROLE.parse(wrong)


def test_a_graph_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "qdrant_edge", None)
    with pytest.raises(MissingExtraError, match=r"engramos\[qdrant\]"):
        ROLE.make("qdrant").build(tmp_path, units(1, 3))
