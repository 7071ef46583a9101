"""The endpoint embedder against a real server on this machine, with its faults."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest
from tests.unit.embedders import embedding_server as faults
from tests.unit.embedders.embedding_server import EmbeddingServer, status

from engramos import clock
from engramos.embedders.hashing import Hashing
from engramos.embedders.openai_endpoint import OpenaiEndpoint
from engramos.errors import ConfigError, ModelError, ModelRateLimitError, ModelTimeoutError

KEY = "sk-canary-0123456789"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer(dims=16) as running:
        yield running


def endpoint(server: EmbeddingServer, **parameters: Any) -> OpenaiEndpoint:
    return OpenaiEndpoint(**({"url": server.url, "model": "m", "dims": 16, "backoff_s": 0.0} | parameters))


def test_texts_are_sent_in_batches_with_the_key_and_without_blank_ones(server: EmbeddingServer):
    vectors = endpoint(server, batch=2, api_key=KEY).embed(["a b", "", "c d", " ", "e f"])
    assert [body["input"] for _, _, body in server.requests] == [["a b", "c d"], ["e f"]]
    assert {path for path, _, _ in server.requests} == {"/v1/embeddings"}
    assert {headers["Authorization"] for _, headers, _ in server.requests} == {f"Bearer {KEY}"}
    np.testing.assert_allclose(vectors[[0, 2, 4]], Hashing(dims=16).embed(["a b", "c d", "e f"]), atol=1e-6)


def test_without_a_key_no_authorization_is_sent(server: EmbeddingServer):
    endpoint(server).embed(["a"])
    assert "Authorization" not in server.requests[0][1]
    assert "dimensions" not in server.requests[0][2]


def test_prefixes_length_and_dims_are_sent_as_asked(server: EmbeddingServer):
    embedder = endpoint(server, text_prefix="passage: ", query_prefix="query: ", max_chars=3, sends_dims=True)
    embedder.embed(["abcdef"])
    embedder.embed_query("xyzxyz")
    assert [body["input"] for _, _, body in server.requests] == [["passage: abc"], ["query: xyz"]]
    assert {body["dimensions"] for _, _, body in server.requests} == {16}


def test_a_url_keeps_its_query_and_needs_no_slash(server: EmbeddingServer):
    endpoint(server, url=f"{server.url}/?api-version=1").embed(["a"])
    assert server.requests[0][0] == "/v1/embeddings?api-version=1"


@pytest.mark.parametrize("fault", [faults.reversed_order, faults.without_index])
def test_vectors_are_put_in_the_order_of_their_index(server: EmbeddingServer, fault: faults.Fault):
    server.faults.append(fault)
    texts = ["one", "two", "three"]
    np.testing.assert_allclose(endpoint(server).embed(texts), Hashing(dims=16).embed(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (faults.one_too_few, "1 vectors for 2 texts"),
        (faults.same_index_twice, r"numbered \[0, 0\]"),
        (faults.short_vectors, r"\(15,\)\] instead of \(16,\)"),
        (faults.not_a_number, "NaN"),
        (faults.words_for_numbers, "no list of vectors"),
        (faults.cut_off, "no list of vectors|could not be asked"),
        (faults.endless, "more than"),
        (status(200, b"<html>"), "no list of vectors"),
        (status(200, {"error": "x"}), "no list of vectors"),
        (status(200, []), "no list of vectors"),
        (status(200, {"data": None}), "no list of vectors"),
        (status(200, {"data": [None, None]}), "no list of vectors"),
        (status(200, {"data": []}), "0 vectors for 2 texts"),
        (status(200, b"[" * 200_000), "no list of vectors"),
    ],
)
def test_a_wrong_answer_is_a_model_error(server: EmbeddingServer, fault: faults.Fault, says: str):
    server.faults.append(fault)
    with pytest.raises(ModelError, match=says):
        endpoint(server).embed(["one", "two"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: EmbeddingServer, code: int):
    server.faults += [status(code), status(code, Retry_After="0")]
    assert endpoint(server).embed(["a"]).shape == (1, 16)
    assert len(server.requests) == 3


def test_a_server_that_stays_limited_is_a_rate_limit_error_after_the_last_attempt(server: EmbeddingServer):
    server.faults += [status(429, Retry_After="0")] * 3
    with pytest.raises(ModelRateLimitError) as error:
        endpoint(server, attempts=3).embed(["a"])
    assert error.value.retry_after_s == 0.0
    assert len(server.requests) == 3


def test_a_server_that_stays_broken_is_a_model_error_with_its_words(server: EmbeddingServer):
    server.faults += [status(503, {"error": "overloaded"})] * 2
    with pytest.raises(ModelError, match=r"answered 503 .*overloaded"):
        endpoint(server, attempts=2).embed(["a"])


def test_a_wait_longer_than_allowed_is_an_error_at_once(server: EmbeddingServer):
    server.faults.append(status(429, Retry_After="3600"))
    with pytest.raises(ModelRateLimitError, match="in 3600 s") as error:
        endpoint(server).embed(["a"])
    assert error.value.retry_after_s == 3600.0
    assert len(server.requests) == 1


def test_a_date_to_retry_after_is_understood(server: EmbeddingServer):
    later = format_datetime(clock.now() + timedelta(hours=1), usegmt=True)
    server.faults.append(status(429, Retry_After=later))
    with pytest.raises(ModelRateLimitError) as error:
        endpoint(server).embed(["a"])
    assert 3_500 < error.value.retry_after_s <= 3_600


def test_a_retry_after_that_makes_no_sense_counts_as_none(server: EmbeddingServer):
    server.faults.append(status(429, Retry_After="soon"))
    assert endpoint(server).embed(["a"]).shape == (1, 16)


@pytest.mark.parametrize("code", [400, 401, 404, 413])
def test_a_refusal_is_not_tried_again(server: EmbeddingServer, code: int):
    server.faults.append(status(code, {"error": "no"}))
    with pytest.raises(ModelError, match=f"answered {code}"):
        endpoint(server).embed(["a"])
    assert len(server.requests) == 1


def test_a_redirect_is_refused_so_that_the_key_stays_here(server: EmbeddingServer):
    with EmbeddingServer(dims=16) as other:
        server.faults.append(status(302, Location=f"{other.url}/embeddings"))
        with pytest.raises(ModelError, match="answered 302"):
            endpoint(server, api_key=KEY).embed(["a"])
        assert other.requests == []


def test_a_silent_server_is_a_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ModelTimeoutError, match=r"within 0\.05 s"):
            OpenaiEndpoint(url=url, timeout_s=0.05).embed(["a"])


def test_no_server_is_a_model_error():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ModelError, match="could not be asked"):
        OpenaiEndpoint(url=f"http://127.0.0.1:{port}").embed(["a"])


def test_the_key_shows_nowhere(server: EmbeddingServer):
    embedder = endpoint(server, api_key=KEY, attempts=1)
    server.faults.append(status(401, {"error": f"Incorrect API key provided: {KEY}"}))
    with pytest.raises(ModelError) as error:
        embedder.embed(["a"])
    for shown in (repr(embedder), str(embedder), embedder.fingerprint, str(error.value)):
        assert KEY not in shown
    assert "Incorrect API key provided" in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "api.openai.com/v1"},
        {"url": "file:///etc/passwd"},
        {"url": "http://"},
        {"url": "http://[::1"},
        {"url": "http://host:port"},
        {"url": "http://host/a b"},
        {"url": None},
        {"url": f"https://user:{KEY}@host/v1"},
        {"model": ""},
        {"dims": 0},
        {"batch": 0},
        {"max_chars": 0},
        {"attempts": 0},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"backoff_s": -1.0},
        {"max_wait_s": float("nan")},
        {"api_key": f"{KEY}\n"},
        {"api_key": "schlüssel"},
    ],
)
def test_a_wrong_parameter_is_refused_without_showing_the_key(wrong: dict):
    with pytest.raises(ConfigError, match=next(iter(wrong))) as error:
        OpenaiEndpoint(**wrong)
    assert KEY not in str(error.value)
