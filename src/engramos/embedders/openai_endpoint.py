"""Embedding by a server that speaks OpenAI's `/embeddings`: OpenAI, vLLM, Ollama, llama.cpp and others."""

import http.client
import json
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np

from engramos import clock
from engramos.embedders.base import Embedder, encodable, fingerprint, require_between, require_text, unit_rows
from engramos.errors import ConfigError, ModelError, ModelRateLimitError, ModelTimeoutError

_BUSY = (408, 429, 500, 502, 503, 504)


class _NoRedirect(HTTPRedirectHandler):
    """Follows nothing: a redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class OpenaiEndpoint(Embedder):
    """Asks a server over HTTP; a busy one (429, 5xx) is asked again after a wait.

    Blank texts are not sent, since servers refuse them. Redirects are refused.
    """

    url: str = "https://api.openai.com/v1"
    """The server's base, with http:// or https://, up to and without `/embeddings`."""
    model: str = "text-embedding-3-small"
    """The model's name, as the server knows it."""
    dims: int = 1_536
    """Length of the model's vectors, 1 to 65,536; an answer of another length is an error."""
    api_key: str = field(default="", repr=False)
    """Sent as bearer token; empty sends none. Never part of a message or of the fingerprint."""
    sends_dims: bool = False
    """Whether to ask the server for vectors of this length (`dimensions`); some models can shorten theirs."""
    text_prefix: str = ""
    """Put before each text, for models that ask for it ("passage: ")."""
    query_prefix: str = ""
    """Put before each query, for models that ask for it ("query: ")."""
    max_chars: int = 24_000
    """Characters sent of a text, 1 to 10,000,000; what follows does not count."""
    batch: int = 64
    """Texts a request, 1 to 4,096."""
    timeout_s: float = 30.0
    """Seconds to wait for a connection and for each part of an answer, > 0."""
    attempts: int = 4
    """Times a request is tried, 1 to 20."""
    backoff_s: float = 0.5
    """Seconds before the second try, >= 0, doubled for each further one, unless the server names a time."""
    max_wait_s: float = 30.0
    """The longest wait between two tries, >= 0; a server that asks for more gets an error at once."""

    def __post_init__(self) -> None:
        _require_url(self.url)
        require_text("model", self.model)
        for name, most in (("dims", 65_536), ("batch", 4_096), ("max_chars", 10_000_000), ("attempts", 20)):
            require_between(name, getattr(self, name), 1, most)
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise ConfigError("api_key holds a blank or a character that no key has: copy it again")
        if not self.timeout_s > 0 or not self.backoff_s >= 0 or not self.max_wait_s >= 0:
            raise ConfigError("timeout_s must be > 0, backoff_s and max_wait_s must be >= 0")

    @property
    def fingerprint(self) -> str:
        """The method, its model and every parameter that changes the vectors."""
        parts = urllib.parse.urlsplit(self.url)
        return fingerprint(
            "openai_endpoint",
            server=f"{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}",
            model=self.model,
            dims=self.dims,
            text_prefix=self.text_prefix,
            query_prefix=self.query_prefix,
            max_chars=self.max_chars,
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text: (texts, dims), float32, rows of length 1."""
        return self._embed(texts, self.text_prefix)

    def embed_query(self, text: str) -> np.ndarray:
        """Return the vector to search with: (dims,), float32, of length 1."""
        return self._embed([text], self.query_prefix)[0]

    def _embed(self, texts: Sequence[str], prefix: str) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dims), dtype=np.float64)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            sent = [encodable(prefix + texts[row][: self.max_chars]) for row in part]
            vectors[part] = _vectors(self._ask(sent), len(part), self.dims, self.model)
        return unit_rows(vectors, self.model)

    def _ask(self, texts: list[str]) -> bytes:
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.sends_dims:
            body["dimensions"] = self.dims
        for attempt in range(1, self.attempts + 1):
            try:
                return self._post(json.dumps(body).encode())
            except HTTPError as error:
                with error:
                    self._wait_or_raise(error, attempt)
        raise AssertionError("the last attempt returns or raises")

    def _post(self, body: bytes) -> bytes:
        parts = urllib.parse.urlsplit(self.url)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/embeddings", fragment="").geturl()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        most = 1_000_000 + self.batch * self.dims * 40
        try:
            request = Request(url, data=body, headers=headers, method="POST")
            with build_opener(_NoRedirect).open(request, timeout=self.timeout_s) as answer:
                content = answer.read(most + 1)
        except HTTPError:
            raise
        except (URLError, OSError, http.client.HTTPException) as error:
            raise self._failure(error) from error
        if len(content) > most:
            raise ModelError(f"{parts.hostname} answered with more than {most} bytes: check that url and dims fit")
        return content

    def _failure(self, error: Exception) -> ModelError:
        host = urllib.parse.urlsplit(self.url).hostname
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            return ModelTimeoutError(f"{host} did not answer within {self.timeout_s:g} s: try later or raise timeout_s")
        return ModelError(f"{host} could not be asked ({cause or type(cause).__name__}): check url and the network")

    def _wait_or_raise(self, error: HTTPError, attempt: int) -> None:
        asked_s = _retry_after_s(error.headers.get("Retry-After"))
        wait_s = min(self.backoff_s * 2 ** (attempt - 1), self.max_wait_s) if asked_s is None else asked_s
        if error.code in _BUSY and attempt < self.attempts and wait_s <= self.max_wait_s:
            time.sleep(wait_s)
            return
        message = f"{urllib.parse.urlsplit(self.url).hostname} answered {error.code} for model {self.model!r}"
        if error.code == 429:
            later = "later" if asked_s is None else f"in {asked_s:g} s"
            raise ModelRateLimitError(f"{message}: ask again {later}", asked_s) from None
        said = error.read(300).decode("utf-8", "replace").strip()
        if self.api_key:
            said = said.replace(self.api_key, "(key)")
        raise ModelError(f"{message} ({said or 'no reason given'}): check url, model and api_key") from None


def _require_url(url: object) -> None:
    """Check that a url is one; it is not shown, since it may hold a secret."""
    try:
        parts = urllib.parse.urlsplit(url) if isinstance(url, str) else None
        is_address = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and url.isascii() and url.isprintable() and " " not in url and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError("url is no address: give one such as 'https://api.openai.com/v1'")
    if "@" in parts.netloc:
        raise ConfigError("url holds a user or password: give the key as api_key")


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - clock.now()).total_seconds())
    except (ValueError, TypeError):
        return None


def _vectors(answer: bytes, count: int, dims: int, model: str) -> np.ndarray:
    """Return an answer's vectors in the order of the request: (count, dims)."""
    try:
        data = json.loads(answer)["data"]
        places = [int(entry.get("index", place)) for place, entry in enumerate(data)]
        vectors = [np.array(entry["embedding"], dtype=np.float64) for entry in data]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"model {model!r} answered with no list of vectors: check that url is an /embeddings"
        ) from error
    if sorted(places) != list(range(count)):
        raise ModelError(f"model {model!r} answered {len(data)} vectors for {count} texts, numbered {places[:8]}")
    found = {vector.shape for vector in vectors}
    if found != {(dims,)}:
        raise ModelError(f"model {model!r} gave vectors of shape {sorted(found)} instead of ({dims},): set dims to fit")
    return np.stack(vectors)[np.argsort(places)]
