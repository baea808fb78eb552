"""Tuning SmolLM2 with low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) to answer in given words, and writing
the adapter as llama.cpp reads it. torch, transformers, peft and gguf do the work.

The loss is on the answer only. Its deciding word weighs 1, all its other tokens together `words_weight`: it is the word
whose probability counts. The schedule ends with the steps or the minutes, whichever come first.
"""

# mypy: disable-error-code="import-not-found,no-untyped-call,untyped-decorator"

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weighup.console import Advance
from weighup.errors import JobFailed
from weighup.models.backend import Message

log = logging.getLogger(__name__)
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
_NAMES = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}  # fmt: skip
_STRETCH = 25  # batches within which examples of about equal length go together


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it is tuned. `minutes` counts time spent in steps, over all runs of a resumed training."""

    rank: int = 8
    alpha: float = 16.0
    modules: tuple[str, ...] = ATTENTION
    lr: float = 5e-4
    batch: int = 8
    epochs: int = 1
    warm_up: int = 10
    words_weight: float = 0.3
    max_tokens: int = 256
    minutes: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Token ids of a prompt and its answer. The answer starts at `start`; the deciding token stands at `deciding`."""

    ids: tuple[int, ...]
    start: int
    deciding: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """How far it came."""

    steps: int
    minutes: float
    loss: float


class Tuned:
    """The base model with an adapter on it, and its tokenizer."""

    def __init__(self, base: Path, recipe: Recipe) -> None:
        """Read a GGUF model back to full precision and put a fresh adapter on it: at first it changes nothing."""
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging as quiet

        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        where = {"gguf_file": base.name, "local_files_only": True}
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base.parent, **where)
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():  # it draws a bar of its own
            warnings.simplefilter("ignore")
            network: Any = AutoModelForCausalLM.from_pretrained(base.parent, dtype=torch.float32, **where)
        config = LoraConfig(
            r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(recipe.modules), lora_dropout=0.0, bias="none"
        )
        self.adapted: Any = get_peft_model(network, config)
        self.network: Any = self.adapted.get_base_model()

    def lesson(self, asked: Sequence[Message], before: str, deciding: str) -> Lesson | None:
        """`asked` ends with the beginning of the answer, `before` goes on with it up to the deciding words, which must
        differ in their first token. None if it is longer than the recipe says."""
        prompt = self.prompt(asked)
        middle, last = self._ids(before), self._ids(deciding)
        ids = (*prompt, *middle, *last, self.tokenizer.eos_token_id)
        lesson = Lesson(ids, len(prompt), len(prompt) + len(middle))
        return lesson if len(ids) <= self.recipe.max_tokens else None

    def prompt(self, asked: Sequence[Message]) -> list[int]:
        """Token ids of a conversation whose last message, the assistant's, is to be continued."""
        text = self.tokenizer.apply_chat_template(list(asked), tokenize=False, continue_final_message=True)
        return self._ids(text)

    def first(self, text: str) -> int:
        """The first token of a text."""
        return self._ids(text)[0]

    def log_odds(
        self, prompts: Sequence[Sequence[int]], words: tuple[str, str], *, advance: Advance | None = None
    ) -> NDArray[np.float32]:
        """Of one next word against another, [n]."""
        one, other = self.first(words[0]), self.first(words[1])
        out = np.zeros(len(prompts), np.float32)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        self.network.eval()
        with torch.inference_mode():
            for start in range(0, len(order), 16):
                at = order[start : start + 16]
                ids, mask = _padded([prompts[i] for i in at])
                last = mask.sum(1) - 1
                states = self.network.model(input_ids=ids, attention_mask=mask).last_hidden_state
                logits = self.network.lm_head(states[torch.arange(len(at)), last])
                out[at] = (logits[:, one] - logits[:, other]).float().numpy()
                if advance is not None:
                    advance(len(at), note="measuring the language model")
        return out

    def loss(self, batch: Sequence[Lesson]) -> Tensor:
        """Weighted cross-entropy of the answers, the mean over lessons."""
        ids, mask = _padded([lesson.ids for lesson in batch])
        rows, places, weights = [], [], []
        for row, lesson in enumerate(batch):
            length = len(lesson.ids) - lesson.start
            for place in range(lesson.start, len(lesson.ids)):
                rows.append(row)
                places.append(place)
                decides = place == lesson.deciding
                weights.append(1.0 if decides else self.recipe.words_weight / max(length - 1, 1))
        states = self.network.model(input_ids=ids, attention_mask=mask).last_hidden_state
        at = torch.tensor(places)
        logits = self.network.lm_head(states[rows, at - 1])
        each = torch.nn.functional.cross_entropy(logits.float(), ids[rows, at], reduction="none")
        return (each * torch.tensor(weights)).sum() / len(batch)

    def fit(self, lessons: Sequence[Lesson], *, state: Path | None, every: int = 25, advance: Advance) -> Fitted:
        """Tune the adapter. `state` is written every so many steps and on Ctrl-C; a run finds it and goes on there.

        A state of other lessons or another recipe is set aside with a warning.
        """
        recipe = self.recipe
        tuned = [p for p in self.network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(tuned, lr=recipe.lr, weight_decay=0.01)
        steps = -(-len(lessons) // recipe.batch) * recipe.epochs
        key = hashlib.sha256(repr((asdict(recipe), lessons)).encode()).hexdigest()
        step, seconds, loss = self._read(state, key, optimiser)
        advance(step * recipe.batch, note="tuning the language model")
        self.network.train()
        saved = step
        try:
            for batch in _batches(lessons, recipe, skip=step):
                done = max(step / steps, seconds / 60 / recipe.minutes if recipe.minutes else 0.0)
                if done >= 1:
                    break
                began = time.monotonic()
                for group in optimiser.param_groups:
                    group["lr"] = recipe.lr * min((step + 1) / recipe.warm_up, 1.02 - done)
                now = self.loss(batch)
                optimiser.zero_grad()
                now.backward()
                torch.nn.utils.clip_grad_norm_(tuned, 1.0)
                optimiser.step()
                loss = 0.95 * loss + 0.05 * now.item() if step else now.item()
                step += 1
                seconds += time.monotonic() - began
                advance(len(batch), note=f"tuning the language model, loss {loss:.3f}")
                if step % every == 0:
                    log.info("step %d of %d, loss %.3f, %.0f s", step, steps, loss, seconds)
                    self._write(state, key, optimiser, (step, seconds, loss))
                    saved = step
        finally:
            if step > saved:
                self._write(state, key, optimiser, (step, seconds, loss))
        self.network.eval()
        return Fitted(step, seconds / 60, loss)

    def export(self, path: Path, *, name: str = "evaluator") -> None:
        """Write the adapter as a GGUF file of 16-bit numbers.

        llama.cpp's converter reorders the rows of the query and key matrices of Llama models (each head's two halves
        interleaved, for its form of rotary positions); what the adapter adds to them is reordered alike.
        """
        import gguf

        config = self.network.config
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_name(name)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(self.recipe.alpha))
        for layer, block in enumerate(self.network.model.layers):
            for module in self.recipe.modules:
                owner = block.mlp if module in FEED_FORWARD else block.self_attn
                linear = getattr(owner, module)
                a = linear.lora_A["default"].weight.detach().numpy()
                b = linear.lora_B["default"].weight.detach().numpy()
                if module in heads:
                    b = permuted(b, heads[module])
                for letter, array in (("a", a), ("b", b)):
                    tensor = f"blk.{layer}.{_NAMES[module]}.weight.lora_{letter}"
                    writer.add_tensor(tensor, np.ascontiguousarray(array, np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _lora(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def _write(self, state: Path | None, key: str, optimiser: Any, so_far: tuple[int, float, float]) -> None:
        if state is None:
            return
        state.parent.mkdir(parents=True, exist_ok=True)
        part = state.with_suffix(".part")
        lora = {name: p.detach() for name, p in self._lora().items()}
        whole = io.BytesIO()  # torch tells of a full disk in words of its own, a file in everybody's
        torch.save({"key": key, "so_far": so_far, "lora": lora, "optimiser": optimiser.state_dict()}, whole)
        part.write_bytes(whole.getvalue())
        os.replace(part, state)

    def _read(self, state: Path | None, key: str, optimiser: Any) -> tuple[int, float, float]:
        if state is None or not state.exists():
            return 0, 0.0, 0.0
        try:
            kept = torch.load(state, weights_only=True)
            if kept["key"] != key:
                log.warning("%s: is of other examples or another recipe; tuning starts anew", state)
                return 0, 0.0, 0.0
            with torch.no_grad():
                for name, p in self._lora().items():
                    p.copy_(kept["lora"][name])
            optimiser.load_state_dict(kept["optimiser"])
            step, seconds, loss = kept["so_far"]
        except Exception as error:  # torch raises many kinds on a file that is not whole
            raise JobFailed(f"{state}: cannot be read ({error}); delete it to start anew") from error
        return int(step), float(seconds), float(loss)


def permuted(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows [heads · 2 · half, …] as llama.cpp keeps those of queries and keys: [heads · half · 2, …]."""
    split = matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, *matrix.shape[1:])
    return np.asarray(split.swapaxes(1, 2).reshape(matrix.shape), np.float32)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """ids and mask [n, length], padded on the right."""
    long = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (long - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (long - len(row)) for row in rows])
    return ids, mask


def _batches(lessons: Sequence[Lesson], recipe: Recipe, *, skip: int) -> Iterator[list[Lesson]]:
    """Batches of all epochs, from the one after `skip`; they depend on the seed alone."""
    for epoch in range(recipe.epochs):
        rng = random.Random(f"{recipe.seed} {epoch}")
        drawn = list(lessons)
        rng.shuffle(drawn)
        out = []
        stretch = recipe.batch * _STRETCH
        for start in range(0, len(drawn), stretch):
            part = sorted(drawn[start : start + stretch], key=lambda lesson: len(lesson.ids))
            out += [part[i : i + recipe.batch] for i in range(0, len(part), recipe.batch)]
        rng.shuffle(out)
        yield from out[skip:]
        skip = max(0, skip - len(out))


def use_threads(count: int | None) -> None:
    """Compute on so many cores; None: all there are."""
    from weighup.models.onnx import cores

    torch.set_num_threads(count or cores())
