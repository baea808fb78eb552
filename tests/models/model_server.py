"""A model server on loopback that speaks the OpenAI and Anthropic wire formats and misbehaves as told.

`answers` are played in order, the last one for ever. Each is a Canned reply or a function from the request to one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Canned:
    """`body` is sent as JSON unless it is bytes; `delay` seconds come before it, `drip` between its bytes."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0


Answer = Canned | Callable[[Request], Canned]


class ModelServer:
    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.requests: list[Request] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.url = ""

    def answer(self, request: Request) -> Canned:
        with self.lock:
            index = min(len(self.requests), len(self.answers) - 1)
            self.requests.append(request)
            chosen = self.answers[index]
        return chosen(request) if callable(chosen) else chosen


@contextmanager
def model_server(*answers: Answer) -> Iterator[ModelServer]:
    server = ModelServer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                canned = server.answer(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                server.closing.wait(canned.delay)
            finally:
                with server.lock:
                    server.at_once -= 1
            data = canned.body if isinstance(canned.body, bytes) else json.dumps(canned.body).encode()
            try:
                self.send_response(canned.status)
                for name, value in {"Content-Length": str(len(data)), **canned.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not canned.drip:
                    self.wfile.write(data)
                    return
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if server.closing.wait(canned.drip):
                        return
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        http.shutdown()
        http.server_close()
        thread.join(5)


def openai_text(text: str, *, read: int = 10, wrote: int = 5) -> Canned:
    return Canned(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote},
        }
    )


def openai_top(*top: tuple[str, float]) -> Canned:
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in top]
    choice = {
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": top[0][0]},
        "logprobs": {"content": [{**listed[0], "top_logprobs": listed}]},
    }
    return Canned({"choices": [choice], "usage": {"prompt_tokens": 20, "completion_tokens": 1}})


def openai_error(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Canned:
    return Canned({"error": {"message": message, "type": "error", "param": param, "code": code}}, status=status)


def anthropic_text(text: str, *, read: int = 10, wrote: int = 5) -> Canned:
    return Canned(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": read, "output_tokens": wrote},
        }
    )


def wait_until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
