"""Language models on torch, many requests in one pass: `transformers:FOLDER`, or `transformers:embedded` for the
built-in one. What is asked side by side is put together into batches, which is several times faster than one at a time
for long lists of claims, and uses a graphics card where there is one. Needs the extra `train`.

Weights of a .gguf file are brought back to full precision; texts may differ from llama.cpp's, whose products are
rounded.
"""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighup.errors import JobFailed, ModelMissing, ModelUnavailable
from weighup.models.answers import Top, weigh_answers
from weighup.models.backend import Message, Transient, Weighed, Wrote, opening
from weighup.models.catalogue import asset, require
from weighup.models.instances import shared
from weighup.models.onnx_encoder import fingerprint
from weighup.models.types import Prompt, Question
from weighup.settings import ModelSettings

AT_ONCE = 64
"""Requests that go through the model together."""
_LISTED = 1000
_QUIET_SECONDS = 0.02  # a batch starts when nothing more has come for so long
_LEAST_SHARED = 16  # tokens that prompts must begin alike for their state to be made once


class TorchBackend:
    """A causal language model and its tokenizer, loaded at first use. Thread-safe; one process at a time."""

    constrains = False
    remote = False
    concurrency: int | None = AT_ONCE

    def __init__(self, path: Path, *, name: str, version: str, context: int, threads: int = 0) -> None:
        self.path = path
        self.name = name
        self.version = f"{version}+torch"
        self.context = context
        self.threads = threads

    @classmethod
    def load(cls, rest: str, models: ModelSettings) -> TorchBackend:
        """`rest`: embedded, a folder with `config.json`, or a .gguf file. Raises ModelMissing saying what to do."""
        if rest == "embedded":
            path, name, version = require("smollm2"), "smollm2", asset("smollm2").sha256[:12]
        else:
            path = Path(rest).expanduser()
            marker = path / "config.json" if path.is_dir() else path
            if not marker.is_file():
                raise ModelMissing(
                    f"setting models.language: transformers:{rest} is neither a folder with config.json nor a file; "
                    "write transformers:embedded, or the folder of a saved model"
                )
            name, version = path.name, fingerprint(marker)
        return cls(path, name=name, version=version, context=models.context, threads=models.threads)

    def write(self, prompt: Prompt, messages: Sequence[Message], *, timeout: float) -> Wrote:
        job = _Job(messages, prompt.max_tokens, prompt.temperature, prompt.seed)
        tokens_in, ids, _ = self._done(job, timeout)
        text = self._network().tokenizer.decode(ids, skip_special_tokens=True)
        for stop in prompt.stop:
            text = text.split(stop, 1)[0]
        return Wrote(text.strip(), tokens_in, len(ids))

    def weigh(self, question: Question, *, timeout: float) -> Weighed:
        messages, deadline = opening(question), time.monotonic() + timeout
        tokens_in, _, top = self._done(_Job(messages, 0, 0.0, 0), timeout)
        spent = [tokens_in, 1]

        def ask(written: str) -> Top:
            further = [*messages, Message(role="assistant", content=written)]
            spent[1] += 1
            return self._done(_Job(further, 0, 0.0, 0), deadline - time.monotonic())[2]

        probabilities = weigh_answers(question.answers, top, ask)
        if not probabilities:
            raise ModelUnavailable(f"{self.name}: none of {', '.join(question.answers)} is a likely answer to it")
        return Weighed(probabilities, spent[0], spent[1])

    def _done(self, job: _Job, timeout: float) -> _Answer:
        self._network().jobs.put(job)
        try:
            return job.answer.result(timeout=max(timeout, 0.0))
        except WaitedTooLong as error:
            job.answer.cancel()
            raise Transient(f"{self.name}: no answer within {timeout:.0f} s") from error

    def _network(self) -> _Network:
        key = ("torch", self.path, self.context, self.threads)
        return shared(key, lambda: _Network(self.path, self.context, self.threads))


_Answer = tuple[int, list[int], Top]
"""Tokens read, token ids written, and the likeliest next tokens where nothing was to be written."""


@dataclass(slots=True)
class _Job:
    messages: Sequence[Message]
    most: int
    temperature: float
    seed: int
    answer: Future[_Answer] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, float, int]:
        """Jobs of one kind go together. Where chance has a part, each goes alone."""
        return (self.most, self.temperature, self.seed if self.temperature else 0)


class _Network:
    """The model, its tokenizer, and the one thread that runs it."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
            from transformers.utils import logging
        except ImportError as error:
            raise JobFailed(
                f"models.language = transformers:… needs torch and transformers ({error}); "
                "install them with pip install 'weighup[train]'"
            ) from error
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        where: dict[str, Any] = {"local_files_only": True}
        home = path
        if path.is_file():
            home, where["gguf_file"] = path.parent, path.name
        self.torch, self.new_cache, self.context = torch, DynamicCache, context
        if threads:
            torch.set_num_threads(threads)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(home, **where)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.model: Any = AutoModelForCausalLM.from_pretrained(home, dtype=dtype, **where).to(self.device).eval()
        self.cache_name = cache_name(self.model)
        ends = self.model.generation_config.eos_token_id
        self.ends = set(ends if isinstance(ends, list) else [ends]) | {self.tokenizer.eos_token_id}
        self.jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="weighup-torch", daemon=True).start()

    def _serve(self) -> None:
        waiting: list[_Job] = []
        while True:
            waiting.append(self.jobs.get()) if not waiting else None
            self._collect(waiting)
            kind = waiting[0].kind
            mine = [job for job in waiting if job.kind == kind][: 1 if kind[1] else AT_ONCE]
            waiting = [job for job in waiting if job not in mine]
            mine = [job for job in mine if job.answer.set_running_or_notify_cancel()]
            try:
                answers = self._run(mine) if mine else []
            except Exception as error:  # noqa: BLE001 - told to those who wait
                for job in mine:
                    job.answer.set_exception(ModelUnavailable(f"torch: {type(error).__name__}: {error}"))
                continue
            for job, answer in zip(mine, answers, strict=True):
                job.answer.set_result(answer)

    def _collect(self, waiting: list[_Job]) -> None:
        while len(waiting) < AT_ONCE:
            try:
                waiting.append(self.jobs.get(timeout=_QUIET_SECONDS))
            except queue.Empty:
                return

    def _run(self, jobs: Sequence[_Job]) -> list[_Answer]:
        torch = self.torch
        prompts = [self._ids(job) for job in jobs]
        with torch.inference_mode():
            logits, past, mask = self._read(prompts)
            if not jobs[0].most:
                log_p, ids = torch.log_softmax(logits.float(), -1).topk(min(_LISTED, logits.shape[-1]))
                texts = [self.tokenizer.batch_decode([[i] for i in row]) for row in ids.tolist()]
                tops = [list(zip(text, row, strict=True)) for text, row in zip(texts, log_p.tolist(), strict=True)]
                return [(len(p), [], top) for p, top in zip(prompts, tops, strict=True)]
            written = self._write(jobs[0], logits, past, mask)
        return [(len(p), ids, []) for p, ids in zip(prompts, written, strict=True)]

    def _ids(self, job: _Job) -> list[int]:
        continues = job.messages[-1]["role"] == "assistant"
        text = self.tokenizer.apply_chat_template(
            list(job.messages), tokenize=False, add_generation_prompt=not continues, continue_final_message=continues
        )
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        room = self.context - job.most
        # The middle goes: prompts end with what is asked.
        return ids if len(ids) <= room else [*ids[: room // 2], *ids[len(ids) - (room - room // 2) :]]

    def _read(self, prompts: Sequence[list[int]]) -> tuple[Any, Any, Any]:
        """Logits of the next token [n, v], the kept state, and the mask so far [n, t]. Padding is on the left, after
        what all prompts share."""
        torch = self.torch
        same = _same_start(prompts)
        rest = [p[same:] for p in prompts]
        long = max(map(len, rest))
        ids = torch.tensor([[0] * (long - len(r)) + r for r in rest], device=self.device)
        mask = torch.tensor([[1] * same + [0] * (long - len(r)) + [1] * len(r) for r in rest], device=self.device)
        past: Any = self.new_cache(config=self.model.config)
        if same:
            self._next(past, input_ids=torch.tensor([prompts[0][:same]], device=self.device))
            past.batch_repeat_interleave(len(prompts))
        places = (mask.cumsum(-1) - 1).clamp(min=0)[:, same:]
        return self._next(past, input_ids=ids, attention_mask=mask, position_ids=places), past, mask

    def _next(self, past: Any, **told: Any) -> Any:
        """Logits of the next token [n, v] after reading on from a kept state, which grows."""
        return self.model(**told, **{self.cache_name: past}, use_cache=True, logits_to_keep=1).logits[:, -1]

    def _write(self, job: _Job, logits: Any, past: Any, mask: Any) -> list[list[int]]:
        torch = self.torch
        written: list[list[int]] = [[] for _ in range(len(logits))]
        open_ = set(range(len(logits)))
        chance = torch.Generator(device=self.device).manual_seed(job.seed)
        for step in range(job.most):
            if job.temperature:
                shares = torch.softmax(logits.float() / job.temperature, -1)
                chosen = torch.multinomial(shares, 1, generator=chance)
            else:
                chosen = logits.argmax(-1, keepdim=True)
            for i, token in enumerate(chosen[:, 0].tolist()):
                if i in open_ and token in self.ends:
                    open_.discard(i)
                elif i in open_:
                    written[i].append(token)
            if not open_ or step + 1 == job.most:
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
            places = mask.sum(-1, keepdim=True) - 1
            logits = self._next(past, input_ids=chosen, attention_mask=mask, position_ids=places)
        return written


def cache_name(model: Any) -> str:
    """What a transformers model calls the argument that holds the kept keys and values."""
    # Renamed in transformers 5; the old name goes in 5.40.
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _same_start(prompts: Sequence[list[int]]) -> int:
    """How many first tokens all prompts share, at least one left over for each; 0 where that is not worth a pass."""
    first, last = min(prompts), max(prompts)
    shared_ = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    shared_ = min(shared_, min(map(len, prompts)) - 1)
    return shared_ if len(prompts) > 1 and shared_ >= _LEAST_SHARED else 0
