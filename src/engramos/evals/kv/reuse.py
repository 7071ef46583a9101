"""Reuse: how soon the first token comes with a stored prefix, and whether the answer is the same."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from torch import Tensor

from engramos.activation.kv_encoding import decode, encode
from engramos.engines._cache import MemoryCache
from engramos.errors import BlobError, ConfigError, translate
from engramos.evals.kv.measures import produced
from engramos.evals.kv.stopwatch import Took, stopwatch
from engramos.evals.kv.tasks import ROOM, Question, passkey_samples
from engramos.evals.kv.texts import Texts
from engramos.vault.kv_file import open_kv, write

ANSWER_TOKENS = 32
"""Tokens of the answers that are compared."""
PLAIN = "full"
"""The codec that keeps the very bits."""
_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Stored:
    """A prefix in a file."""

    path: Path
    digest: str
    num_bytes: int


@dataclass(slots=True)
class Answer:
    """What came of one question."""

    token_ids: list[int]
    ttft: Took
    attach: Took
    """Of opening, verifying, decoding and attaching; nothing where all was read anew."""
    verify: Took
    """Of opening and verifying alone."""
    read: Took
    """Of reading the file's bytes, and no more."""


def reuse(
    engine: Any,
    prefixes: Sequence[int],
    codecs: Sequence[str],
    folder: Path,
    texts: Texts,
    seed: int,
    left_out: list[str],
    progress: Callable[[int], None] = lambda num: None,
) -> dict[str, float]:
    """Return times and answers with and without a stored prefix: `2048.ttft_ratio`, `2048.int8.identical`.

    Each prefix is encoded once and written to a file. Each question is then answered twice: after reading prefix and
    question, and after attaching the file and reading the question alone. The system is asked to forget the file's
    bytes before it is read.

    Args:
        engine: that hosts the model.
        prefixes: their lengths in tokens.
        codecs: further ones, beside that which keeps the very bits.
        folder: where files are written, and removed again.
        texts: of the prefixes.
        seed: of the choice of text.
        left_out: is told of prefixes that do not fit the model's window.
        progress: is told of each prefix that is done.

    Raises:
        ConfigError: if no prefix fits the window.
    """
    metrics: dict[str, float] = {}
    for length in prefixes:
        if length + ROOM > engine.max_tokens:
            left_out.append(f"prefix {length}: the model's window has {engine.max_tokens} tokens, questions included")
        else:
            found = _of_prefix(engine, length, codecs, folder, texts, seed)
            metrics |= {f"{length}.{name}": value for name, value in found.items()}
        progress(1)
    if not metrics:
        raise ConfigError(f"no prefix can be measured: {'; '.join(left_out)}")
    return metrics


def _of_prefix(
    engine: Any, length: int, codecs: Sequence[str], folder: Path, texts: Texts, seed: int
) -> dict[str, float]:
    (sample,) = passkey_samples(engine, texts, length, 1, seed)
    anew = [_read_anew(engine, sample.context, question) for question in sample.questions]
    metrics = {
        "prefill_ttft_ms": 1000 * median(one.ttft.wall_s for one in anew),
        "prefill_ttft_cpu_ms": 1000 * median(one.ttft.cpu_s for one in anew),
    }
    cache = engine.new_cache()
    engine.prefill(sample.context, cache)
    for codec in (PLAIN, *codecs):
        stored = store(engine, cache, codec, folder / f"{length}.{len(metrics)}.kv")
        answers = [_attached(engine, stored, question) for question in sample.questions]
        prefix = "" if codec == PLAIN else f"{codec}."
        metrics |= {f"{prefix}{name}": value for name, value in _compared(anew, answers, stored).items()}
        stored.path.unlink()
    return metrics


def store(engine: Any, cache: MemoryCache, codec: str, path: Path) -> Stored:
    """Write what a cache keeps to a file.

    Args:
        engine: that hosts the model.
        cache: that has read a prefix.
        codec: of keys and values.
        path: that nobody has.
    """
    ropes = [one.rope for one in engine.shapes]
    made = encode(engine.detach(cache), codec, codec, ropes, fingerprint=engine.fingerprint)
    return Stored(path, *write(path, made))


def _read_anew(engine: Any, prefix: Sequence[int], question: Question) -> Answer:
    with stopwatch() as took:
        cache = engine.new_cache()
        scores = engine.prefill([*prefix, *question.asked], cache)
        scores.argmax().item()
    return Answer(produced(engine, scores, cache, ANSWER_TOKENS), took, Took(), Took(), Took())


def _attached(engine: Any, stored: Stored, question: Question) -> Answer:
    forget_bytes(stored.path)
    with stopwatch() as read:
        read_bytes(stored.path)
    forget_bytes(stored.path)
    with stopwatch() as ttft:
        with stopwatch() as attach:
            with stopwatch() as verify:
                opened = open_kv(stored.path, stored.digest)
            cache = engine.attach(decode(opened.cube, [one.rope for one in engine.shapes]))
        scores: Tensor = engine.prefill(question.asked, cache)
        scores.argmax().item()
    return Answer(produced(engine, scores, cache, ANSWER_TOKENS), ttft, attach, verify, read)


def _compared(anew: Sequence[Answer], attached: Sequence[Answer], stored: Stored) -> dict[str, float]:
    """Return the medians of times, and the mean share of tokens that are the same at the same place."""
    wall, cpu = (median(getattr(one.ttft, kind) for one in attached) for kind in ("wall_s", "cpu_s"))
    attach, verify, read = (
        median(getattr(one, name).wall_s for one in attached) for name in ("attach", "verify", "read")
    )
    return {
        "ttft_ms": 1000 * wall,
        "ttft_cpu_ms": 1000 * cpu,
        "ttft_ratio": median(one.ttft.wall_s for one in anew) / wall,
        "ttft_cpu_ratio": median(one.ttft.cpu_s for one in anew) / max(cpu, 1e-9),
        "attach_ms": 1000 * attach,
        "attach_cpu_ms": 1000 * median(one.attach.cpu_s for one in attached),
        "verify_ms": 1000 * verify,
        "read_ms": 1000 * read,
        "attach_overhead_ms": 1000 * (attach - read),
        "read_mb_per_s": stored.num_bytes / 1e6 / max(read, 1e-9),
        "bytes": float(stored.num_bytes),
        "identical": fmean(_same(one.token_ids, two.token_ids) for one, two in zip(anew, attached, strict=True)),
    }


def _same(first: Sequence[int], second: Sequence[int]) -> float:
    longest = max(len(first), len(second))
    return sum(one == two for one, two in zip(first, second, strict=False)) / longest if longest else 1.0


def forget_bytes(path: Path) -> None:
    """Ask the system to read a file from the disk the next time; where it cannot be asked, nothing happens."""
    if hasattr(os, "posix_fadvise"):
        with translate({OSError: BlobError}, f"opening {path}"), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes(path: Path) -> int:
    """Read a file from its beginning to its end, and return how many bytes it has."""
    buffer, total = bytearray(_READ_BYTES), 0
    with translate({OSError: BlobError}, f"reading {path}"), path.open("rb", buffering=0) as file:
        while num := file.readinto(buffer):
            total += num
    return total
