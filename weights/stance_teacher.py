"""Trains teachers of the stance model: SmolLM2, all of it, as a judge of stance; writes what they say of many pairs.

    python weights/stance_teacher.py --data ../shared/data --out DIR --seeds 1 2 --minutes 2.5

Needs a graphics card to be done in minutes. The pairs are those that `weights/stance.py --teacher DIR/said.npz` learns
from: told, made, and untold ones (`weighup.train.stance.untold`). Each teacher reads evidence and claim and answers
from the state of the last token through a layer of its own; what is written is the mean of their log-probabilities.
Dev is read only to measure.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weighup.files import sha256
from weighup.models.catalogue import require
from weighup.train.stance.data import Pair
from weighup.train.stance.fit import EVENTS, Recipe, batches, pools_of
from weighup.train.stance.quantised import from_onnx
from weighup.train.stance.scores import best_shift, mean_f1, table
from weighup.train.stance.untold import key_of, lessons
from weighup.verify import weights
from weighup.verify.stance import load_tokenizer

MOST_TOKENS, PASSAGE_TOKENS, WIDTH = 224, 160, 576
ROUND = {
    "healthver": 1569, "covid_fact": 5000, "climate_fever": 4200, "check_covid": 1401, "fool_me_twice": 1258,
    "fool_me_twice neutral": 500, "rte": 2767, "scifact_rte": 564, "wice_claims": 800, "med": 1500,
    "edited": 1200, "own_sentence": 300, "dated": 400, "wrong_page": 1200, "several": 900,
}  # fmt: skip
WEIGHT = {"edited": 0.6, "own_sentence": 0.5, "med": 0.5, "wice_claims": 0.7, "dated": 0.6, "wrong_page": 0.6}


class Teacher(nn.Module):
    """A causal language model with three answers on the last token's state."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.body = model.model
        self.answer = nn.Linear(self.body.config.hidden_size, 3)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask [n, length], padded on the right -> logits [n, 3]."""
        states = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        last = mask.sum(1) - 1
        return self.answer(states[torch.arange(len(ids), device=ids.device), last].float())


class Texts:
    """Token ids of pairs, each made once."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.known: dict[Pair, list[int]] = {}

    def learn(self, pairs: Sequence[Pair]) -> None:
        new = [p for p in dict.fromkeys(pairs) if p not in self.known]

        def ids(texts: list[str]) -> list[list[int]]:
            return self.tokenizer(texts, add_special_tokens=False)["input_ids"]

        begin, middle, end = ids(
            ["Evidence: ", "\nClaim: ", "\nDoes the evidence support the claim, refute it, or neither? It"]
        )
        passages = ids([p.passage[:4000] for p in new])
        claims = ids([p.claim[:1000] for p in new])
        for pair, passage, claim in zip(new, passages, claims, strict=True):
            room = MOST_TOKENS - len(begin) - len(middle) - len(end)
            claim = claim[: room // 2]
            self.known[pair] = [*begin, *passage[: min(PASSAGE_TOKENS, room - len(claim))], *middle, *claim, *end]

    def batch(self, pairs: Sequence[Pair], device: str) -> tuple[Tensor, Tensor]:
        rows = [self.known[p] for p in pairs]
        long = max(map(len, rows))
        ids = torch.tensor([r + [0] * (long - len(r)) for r in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (long - len(r)) for r in rows])
        return ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)


def loaded() -> tuple[Any, Any]:
    """The built-in language model at full precision and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = require("smollm2")
    where = {"gguf_file": path.name, "local_files_only": True}
    return (
        AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where),
        AutoTokenizer.from_pretrained(path.parent, **where),
    )


def trained(args: argparse.Namespace, seed: int, pairs: Sequence[Pair], texts: Texts, model: Any) -> Teacher:
    torch.manual_seed(seed)
    teacher = Teacher(model).to(args.device).train()
    recipe = Recipe(batch=args.batch, seed=seed, round=ROUND)
    head = list(teacher.answer.parameters())
    body = [p for p in teacher.body.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": body, "lr": args.lr}, {"params": head, "lr": 10 * args.lr}], weight_decay=0.01, fused=True
    )
    began = time.monotonic()
    for step, batch in enumerate(batches(pools_of(pairs), recipe)):
        done = max((time.monotonic() - began) / 60 / args.minutes, step / args.steps)
        if done >= 1:
            break
        for group, peak in zip(optimiser.param_groups, (args.lr, 10 * args.lr), strict=True):
            group["lr"] = peak * min((step + 1) / 60, 1.02 - done)
        ids, mask = texts.batch(batch, args.device)
        with torch.autocast(args.device, torch.bfloat16):
            logits = teacher(ids, mask)
        log_p = torch.log_softmax(logits.float(), -1)
        told = EVENTS[torch.tensor([p.label for p in batch])].to(args.device)
        each = -torch.logsumexp(log_p.masked_fill(~told, -1e4), -1)
        weight = torch.tensor([WEIGHT.get(p.source, 1.0) for p in batch], device=args.device)
        now = (each * weight).sum() / weight.sum()
        optimiser.zero_grad()
        now.backward()
        torch.nn.utils.clip_grad_norm_(body, 1.0)
        optimiser.step()
        if step % 25 == 0:
            logging.info("teacher %d: step %d loss %.3f %.0f s", seed, step, now.item(), time.monotonic() - began)
    return teacher.eval()


@torch.inference_mode()
def said(teacher: Teacher, pairs: Sequence[Pair], texts: Texts, device: str) -> np.ndarray:
    """Logits [n, 3]."""
    out = np.zeros((len(pairs), 3), np.float32)
    order = sorted(range(len(pairs)), key=lambda i: len(texts.known[pairs[i]]))
    for start in range(0, len(order), 256):
        at = order[start : start + 256]
        with torch.autocast(device, torch.bfloat16):
            out[at] = teacher(*texts.batch([pairs[i] for i in at], device)).float().cpu().numpy()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=2.5, help="for each teacher")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--limit", type=int, help="a trial: of each list of pairs so many")
    args = parser.parse_args()
    args.device = "cuda" if torch.cuda.is_available() else "cpu"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args.out.mkdir(parents=True, exist_ok=True)
    vocab = load_tokenizer(weights.SHIPPED / weights.TOKENIZER).get_vocab()
    words = from_onnx(weights.SHIPPED / "stance.onnx", vocab).words.weight.detach()
    pairs, untold, dev, _ = lessons(args.data, vocab, words)
    print(f"{len(pairs)} told and made, {len(untold)} untold, {len(dev)} dev pairs", flush=True)
    pairs, untold, dev = (
        part[:: max(1, len(part) // args.limit)] if args.limit else part for part in (pairs, untold, dev)
    )
    model, tokenizer = loaded()
    texts = Texts(tokenizer)
    texts.learn([*pairs, *untold, *dev])
    everything = [*pairs, *untold]
    answers, on_dev, report = [], [], {}
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for seed in args.seeds:
        model.load_state_dict(start)
        teacher = trained(args, seed, pairs, texts, model)
        on_dev.append(said(teacher, dev, texts, args.device))
        report[f"teacher {seed}"] = measured(on_dev[-1], dev)
        print(json.dumps(report, indent=1), flush=True)
        answers.append(said(teacher, everything, texts, args.device))
    log_p = np.mean([torch.log_softmax(torch.tensor(a), -1).numpy() for a in answers], 0)
    report["together"] = measured(np.mean(on_dev, 0), dev)
    share = torch.softmax(torch.tensor(log_p), -1).numpy()
    np.savez_compressed(
        args.out / "said.npz",
        keys=np.array([key_of(p) for p in everything]),
        share=share.astype(np.float16),
        dev=np.mean(on_dev, 0).astype(np.float16),
        about=np.frombuffer(json.dumps({"dev": report, "lr": args.lr, "minutes": args.minutes}).encode(), np.uint8),
    )
    print(json.dumps(report, indent=1), sha256(args.out / "said.npz"))


def measured(logits: np.ndarray, dev: Sequence[Pair]) -> dict[str, Any]:
    shift = best_shift(logits, dev)
    return {
        "plain": round(mean_f1(logits, dev), 4), "shifted": round(mean_f1(logits + shift, dev), 4),
        "per_set": table(logits + shift, dev),
    }  # fmt: skip


if __name__ == "__main__":
    main()
