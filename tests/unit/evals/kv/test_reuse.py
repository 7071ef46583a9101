"""Reuse: what is read from a file answers as what was just read, and times are told apart."""

import random
from pathlib import Path

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.evals.kv.reuse import Stored, _attached, read_bytes, reuse, store
from engramos.evals.kv.tasks import Question
from engramos.evals.kv.texts import Texts
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny", block_tokens=128)


def test_a_stored_prefix_gives_the_very_tokens_and_a_line_for_each_length(engine, tmp_path: Path) -> None:
    left_out, done = [], []
    found = reuse(engine, [512, 700, 5_000], ["int8"], tmp_path, Texts(), 0, left_out, done.append)
    assert found["512.identical"] == found["700.identical"] == 1.0
    assert 0.0 <= found["512.int8.identical"] <= 1.0
    assert found["700.int8.bytes"] < found["700.bytes"] / 3
    assert found["700.bytes"] > 700 * 3 * 2 * 2 * 16 * 4
    assert found["700.ttft_ratio"] == pytest.approx(found["700.prefill_ttft_ms"] / found["700.ttft_ms"])
    assert found["700.attach_ms"] < found["700.ttft_ms"]
    assert found["700.attach_overhead_ms"] == pytest.approx(found["700.attach_ms"] - found["700.read_ms"])
    assert len(left_out) == 1
    assert "5000" in left_out[0]
    assert len(done) == 3
    assert list(tmp_path.iterdir()) == [], "files are removed again"


def test_no_prefix_within_the_window_is_an_error(engine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4096"):
        reuse(engine, [9_000], [], tmp_path, Texts(), 0, [])


def test_a_stored_prefix_is_verified_when_it_is_attached(engine, tmp_path: Path) -> None:
    source = random.Random(1)
    cache = engine.new_cache()
    engine.prefill([source.randrange(256) for _ in range(100)], cache)
    stored = store(engine, cache, "full", tmp_path / "a.kv")
    assert read_bytes(stored.path) == stored.num_bytes == stored.path.stat().st_size
    question = Question((1, 2, 3))
    assert len(_attached(engine, stored, question).token_ids) > 0
    with pytest.raises(CorruptPayloadError):
        _attached(engine, Stored(stored.path, "0" * 64, stored.num_bytes), question)
