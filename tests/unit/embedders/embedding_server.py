"""A real HTTP server on this machine that answers `/embeddings` with hashed vectors, or with a fault."""

import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from engramos.embedders.hashing import Hashing

Fault = Callable[["Request", list[dict]], None]


class Request(BaseHTTPRequestHandler):
    server: "EmbeddingServer"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), body))
            fault = self.server.faults.pop(0) if self.server.faults else None
        rows = self.server.hashing.embed(body["input"]).tolist()
        data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)]
        if fault is None:
            self.answer(200, {"object": "list", "model": body["model"], "data": data})
        else:
            fault(self, data)

    def answer(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep the test output clean."""


class EmbeddingServer(ThreadingHTTPServer):
    """Serves in a thread of its own while the `with` block runs; each fault in `faults` spoils one answer."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, dims: int) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.hashing = Hashing(dims=dims)
        self.lock = threading.Lock()
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.faults: list[Fault] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> "EmbeddingServer":
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def status(code: int, body: Any = b"", **headers: str) -> Fault:
    return lambda request, data: request.answer(code, body, **headers)


def reversed_order(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": data[::-1]})


def without_index(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": [{"embedding": entry["embedding"]} for entry in data]})


def one_too_few(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": data[:-1]})


def same_index_twice(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": [entry | {"index": 0} for entry in data]})


def short_vectors(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": [entry | {"embedding": entry["embedding"][:-1]} for entry in data]})


def not_a_number(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": [entry | {"embedding": [math.nan, *entry["embedding"][1:]]} for entry in data]})


def words_for_numbers(request: Request, data: list[dict]) -> None:
    request.answer(200, {"data": [entry | {"embedding": "AAAA"} for entry in data]})


def cut_off(request: Request, data: list[dict]) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"data": [')
    request.close_connection = True


def endless(request: Request, data: list[dict]) -> None:
    request.answer(200, b" " * 9_000_000)
