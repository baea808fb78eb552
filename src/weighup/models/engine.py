"""The llama.cpp engine inside this process, through `xllamacpp` (MIT).

`xllamacpp.Server` insists on listening: it gets a Unix socket in a folder only this user may enter and a random
key, so no TCP port opens. It also takes SIGINT and SIGTERM for itself, which would turn Ctrl-C into a dead engine;
they are handed back. Requests go through its in-process `handle_…` calls, many threads at a time.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighup.errors import ModelUnavailable, WeighupError
from weighup.models.instances import shared
from weighup.models.onnx import cores

log = logging.getLogger(__name__)

# Beyond this many the threads of one small matrix product wait for each other longer than they work.
_MOST_THREADS = 8
# State of prompts read: SmolLM2 takes 23 KB a token, so this holds the beginnings that a claim's prompts share.
_KEPT_STATE_MIB = 128
_LONGEST_FOLDER = 104 - len("/weighup-01234567/llm.sock") - 1
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]


class ContextExceeded(WeighupError):
    """The prompt has more tokens than the engine's context."""

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(f"prompt of {tokens} tokens does not fit a context of {context}")
        self.tokens = tokens
        self.context = context


class EngineTimeout(WeighupError):
    """Writing was stopped because its time was up."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What one request produced. `top` is [(token text, log-probability)] for the first token, when asked for."""

    text: str
    tokens_in: int
    tokens_out: int
    finish: str
    top: tuple[tuple[str, float], ...] = ()


class LlamaEngine:
    """One loaded GGUF model with `slots` requests at a time, `context` tokens each. Make it through `shared`.

    The state of prompts read lately is kept, so that what a prompt has in common with an earlier one is not read again.
    """

    def __init__(self, path: Path, *, context: int, threads: int, slots: int = 1, adapter: Path | None = None) -> None:
        """`adapter`: a GGUF LoRA adapter to put on the model."""
        self.context = context
        self._folder = _socket_folder()
        # The socket's name is needed only while the server starts; the folder goes once it listens.
        try:
            self._server = _start(
                path, self._folder / "llm.sock", context=context, threads=threads, slots=slots, adapter=adapter
            )
        except RuntimeError as error:
            what = "this file as a GGUF model" if adapter is None else f"this file with the adapter {adapter}"
            raise ModelUnavailable(f"{path}: the engine cannot load {what}: {error}") from error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def chat(self, body: dict[str, Any], *, timeout: float) -> Completion:
        """Run one chat completion. Raises ContextExceeded, EngineTimeout, ModelUnavailable (what the engine said)."""
        deadline = time.monotonic() + timeout
        collected = _Collected(deadline)
        stream = {**body, "stream": True, "stream_options": {"include_usage": True}}
        self._server.handle_chat_completions(stream, collected.take)
        if collected.error is not None:
            raise collected.error
        if collected.timed_out:
            raise EngineTimeout(f"nothing finished within {timeout:.1f} s")
        return collected.completion()


class _Collected:
    """Gathers the pieces the engine streams; asks it to stop when time is up."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.timed_out = False
        self.error: WeighupError | None = None
        self.parts: list[str] = []
        self.top: tuple[tuple[str, float], ...] = ()
        self.usage: dict[str, int] = {}
        self.finish = ""

    def take(self, piece: Any) -> bool:
        """One streamed chunk; True tells the engine to stop."""
        chunk = json.loads(piece) if isinstance(piece, str | bytes) else piece
        if "error" in chunk:
            self.error = _refusal(chunk["error"])
            return True
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices", ()):
            self.parts.append((choice.get("delta") or {}).get("content") or "")
            self.finish = choice.get("finish_reason") or self.finish
            for token in (choice.get("logprobs") or {}).get("content") or ():
                self.top = self.top or tuple((t["token"], float(t["logprob"])) for t in token["top_logprobs"])
        if time.monotonic() > self.deadline and not self.finish:
            self.timed_out = True
            return True
        return False

    def completion(self) -> Completion:
        text = "".join(self.parts)
        return Completion(
            text, self.usage.get("prompt_tokens", 0), self.usage.get("completion_tokens", 0), self.finish, self.top
        )


def auto_threads() -> int:
    """Cores that are free now, at least one. llama.cpp's threads march in step: one that must share its core
    with other work holds up all the rest, tenfold and worse, so a busy machine is better served by fewer."""
    free = cores()
    if hasattr(os, "getloadavg"):
        free -= round(os.getloadavg()[0])
    return max(1, min(free, _MOST_THREADS))


def _socket_folder() -> Path:
    """A new folder with mode 0700, where a socket's whole path is short enough for the system (104 bytes on BSD)."""
    where = tempfile.gettempdir()
    if len(os.fsencode(where)) > _LONGEST_FOLDER and os.path.isdir("/tmp"):
        where = "/tmp"
    return Path(tempfile.mkdtemp(prefix="weighup-", dir=where))


def _refusal(error: Any) -> WeighupError:
    if isinstance(error, dict):
        if error.get("type") == "exceed_context_size_error":
            return ContextExceeded(int(error.get("n_prompt_tokens", 0)), int(error.get("n_ctx", 0)))
        error = error.get("message", error)
    return ModelUnavailable(f"the embedded engine refused the request: {str(error)[:300]}")


def _start(path: Path, socket: Path, *, context: int, threads: int, slots: int, adapter: Path | None) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    if adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    params.hostnames = [str(socket)]
    params.api_keys = [secrets.token_hex(32)]
    params.verbosity = -1
    params.ui = False
    params.endpoint_slots = False
    params.warmup = False
    params.fit_params = False
    params.n_ctx = context * slots
    params.n_parallel = slots
    # A long prompt is read in pieces: between two of them other requests move on and time limits are noticed.
    params.n_batch = 512
    params.cache_ram_mib = _KEPT_STATE_MIB
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads or auto_threads()
    with _own_signals():
        server = xllamacpp.Server(params)
    log.debug("engine: %s loaded with %d threads, %d slots", path.name, params.cpuparams.n_threads, slots)
    return server


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put the process's signal handlers back afterwards; works from any thread, unlike `signal.signal`."""
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.restype = put.restype = ctypes.c_void_p
    put.argtypes = [ctypes.c_int, ctypes.c_void_p]
    # One for each process: a child forked while its parent loads an engine would wait for ever on the parent's.
    with shared("signals", threading.Lock):
        before = {number: get(number) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                put(number, handler)
