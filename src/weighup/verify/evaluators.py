"""Who says whether a perspective may be relied on: the heads that are shipped, or an instruction-tuned language model.

EASE (arXiv 2510.11277) tunes a language model to write, of a perspective, a justification and "reliable" or "not
reliable". `LanguageModelEvaluator` is that on SmolLM2-135M-Instruct with a LoRA adapter (Hu et al. 2021, arXiv
2106.09685), which `weighup train evaluator-lm` makes; `HeadsEvaluator` the small bagged heads. Ours: the probability is
that of the deciding word, calibrated (Platt 1999), and costs no writing; a justification is written only when asked
for, and kept only if each of its quotations stands in what was read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.errors import ModelUnavailable
from weighup.models.backend import Message
from weighup.models.catalogue import asset, require
from weighup.models.engine import Completion, EngineTimeout, LlamaEngine
from weighup.models.instances import shared
from weighup.retrieve.hostile import defuse, suspicious_instructions
from weighup.texts import clean, language
from weighup.verify import weights
from weighup.verify.ease import Ease
from weighup.verify.justify import VERDICTS, stands
from weighup.verify.types import KINDS, Kind

Array = NDArray[np.float32]
BASE = "smollm2"
WHY, DECIDING = "Why:", "Verdict:"
"""What an answer begins with: a justification, which `DECIDING` ends, or the deciding word at once."""
WORDS = (" reliable", " not reliable")
FIRST = (" reliable", " not")
"""The first tokens of both."""
SYSTEM = "You judge whether what one kind of knowledge says about a news item can be relied on."
USER = (
    "News: {text}\n{kind}: {telling}\nIts own verdict: {own}. {others}\n"
    "Can its verdict be relied on? Say reliable or not reliable."
)
TEXT_BYTES, TELLING_BYTES = 220, 340
"""How much of the news and of the perspective is read, in UTF-8: what fits 256 tokens with the answer."""
PROMPT_VERSION = "1-" + hashlib.sha256(repr((SYSTEM, USER, TEXT_BYTES, TELLING_BYTES)).encode()).hexdigest()[:8]
_CONTEXT = 1024  # no token is less than a byte
_LISTED = (50, 49_152)  # alternatives told for a token: a tuned model's answers are among the first, else all
_WRITTEN = 96
_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Cases:
    """n claims to assess. By kind: `tellings` [n] in words, `rows` [n, d] in numbers, `opinions` [n, 3] the
    perspective's own verdict (real, fake, unknown), `on` [n] whether it could be had; `texts` [n] the claims."""

    texts: Sequence[str]
    tellings: Mapping[Kind, Sequence[str]]
    rows: Mapping[Kind, Array]
    opinions: Mapping[Kind, Array]
    on: Mapping[Kind, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Assessed:
    """`probability` [n]: that a perspective's own verdict is right, 0 where it could not be had; `justifications` [n]:
    in the evaluator's words, None where there are none fit to be shown."""

    probability: Array
    justifications: tuple[str | None, ...]


class Evaluator(Protocol):
    """Assesses one kind of perspective of many claims. `justify`: write justifications too, if it can."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def assess(self, kind: Kind, cases: Cases, *, justify: bool = False) -> Assessed: ...


@dataclass(frozen=True, slots=True)
class HeadsEvaluator:
    """The trained heads of EASE. They write nothing; `justify.py` says what they rest on."""

    ease: Ease
    name: str = "heads"

    @property
    def version(self) -> str:
        """That of the heads."""
        return self.ease.version

    def assess(self, kind: Kind, cases: Cases, *, justify: bool = False) -> Assessed:
        """Read off the knowledge rows and all verdicts."""
        p = np.where(cases.on[kind], self.ease.reliability(kind, cases.rows[kind], cases.opinions), np.float32(0))
        return Assessed(np.asarray(p, np.float32), (None,) * len(cases))


class LanguageModelEvaluator:
    """SmolLM2 with an adapter, read by the embedded engine: some 200 tokens a perspective, and up to 96
    written for a justification, one after another. Thread-safe. Claims that are not English go to `otherwise`, as the
    base reads no other language.
    """

    name = "language_model"

    def __init__(
        self,
        base: Path,
        adapter: Path,
        *,
        version: str,
        calibration: Mapping[Kind, tuple[float, float]],
        otherwise: Evaluator | None = None,
        threads: int = 0,
    ) -> None:
        """`calibration`: slope and shift of the log-odds, by kind."""
        self.base, self.adapter, self.version = base, adapter, version
        self.calibration, self.otherwise, self.threads = calibration, otherwise, threads

    @classmethod
    def load(
        cls, folder: Path | None, *, otherwise: Evaluator | None = None, threads: int = 0
    ) -> LanguageModelEvaluator:
        """The part `evaluator` of a weights folder. Raises WeightsError if it is missing, not whole, or was trained on
        another base model or another prompt; ModelMissing if the base model was not pulled."""
        home = weights.find("evaluator", folder)
        path = home / "evaluator.json"
        if not weights.has("evaluator", folder):
            raise weights.unusable(path, "is missing, expected because verify.evaluator is language_model")
        card = weights.card("evaluator", folder)
        known = asset(BASE).sha256
        if (found := _named(card, "base", "sha256")) != known:
            raise weights.unusable(path, f"was trained on the model {found[:12]}…, expected {BASE} {known[:12]}…")
        if (prompt := _named(card, "prompt", "version")) != PROMPT_VERSION:
            raise weights.unusable(path, f"was trained on prompt {prompt[:20]!r}, expected {PROMPT_VERSION}")
        return cls(
            require(BASE),
            home / "evaluator.gguf",
            version=str(card["version"]),
            calibration=_calibration(card, path),
            otherwise=otherwise,
            threads=threads,
        )

    def assess(self, kind: Kind, cases: Cases, *, justify: bool = False) -> Assessed:
        """Raises ModelUnavailable if the engine fails."""
        probability = np.zeros(len(cases), np.float32)
        written: list[str | None] = [None] * len(cases)
        other = None
        for i, text in enumerate(cases.texts):
            if not cases.on[kind][i]:
                continue
            if not reads(text):
                if self.otherwise is not None:
                    other = other or self.otherwise.assess(kind, cases, justify=justify)
                    probability[i], written[i] = other.probability[i], other.justifications[i]
                continue
            asked = messages(kind, cases, i)
            slope, shift = self.calibration[kind]
            probability[i] = 1 / (1 + np.exp(-(slope * self._log_odds(asked) + shift)))
            if justify:
                written[i] = self._justification(asked, cases.tellings[kind][i], text if kind == "sentiment" else "")
        return Assessed(probability, tuple(written))

    def log_odds(self, kind: Kind, cases: Cases) -> Array:
        """Of reliable against not reliable, before calibration, [n]."""
        return np.asarray([self._log_odds(messages(kind, cases, i)) for i in range(len(cases))], np.float32)

    def _log_odds(self, asked: Sequence[Message]) -> float:
        for listed in _LISTED:
            # Read whole each time: a prompt whose beginning is kept is rounded otherwise, and the answer hangs on that.
            body = {
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": True,
                "top_logprobs": listed,
                "cache_prompt": False,
            }
            top = dict(self._chat([*asked, Message(role="assistant", content=DECIDING)], body).top)
            if FIRST[0] in top and FIRST[1] in top:
                return top[FIRST[0]] - top[FIRST[1]]
        raise ModelUnavailable(f"{self.name}: the engine told no probability of its answers")

    def _justification(self, asked: Sequence[Message], *read: str) -> str | None:
        body = {"max_tokens": _WRITTEN, "temperature": 0.0, "stop": [DECIDING]}
        done = self._chat([*asked, Message(role="assistant", content=WHY)], body)
        text = " ".join(done.text.removeprefix(WHY).split())
        return text if stands(text, *read) else None

    def _chat(self, asked: Sequence[Message], body: Mapping[str, Any]) -> Completion:
        engine: LlamaEngine = shared(("evaluator", self.base, self.adapter, self.threads), self._open)
        try:
            return engine.chat({**body, "messages": list(asked)}, timeout=_TIMEOUT)
        except EngineTimeout as error:
            raise ModelUnavailable(f"{self.name}: {error}") from error

    def _open(self) -> LlamaEngine:
        return LlamaEngine(self.base, context=_CONTEXT, threads=self.threads, adapter=self.adapter)


def reads(text: str) -> bool:
    """Whether the base model can be asked about a text: if it is English, at least for the most part."""
    return language(text) in ("en", "mixed")


def messages(kind: Kind, cases: Cases, i: int) -> list[Message]:
    """What the evaluator is asked about claim `i`. Orders to a model are taken out of all that was fetched."""
    others = [_verdict(k, cases.opinions[k][i]) for k in KINDS if k != kind and cases.on[k][i]]
    user = USER.format(
        text=fitted(cases.texts[i], TEXT_BYTES),
        kind=kind.capitalize(),
        telling=fitted(cases.tellings[kind][i], TELLING_BYTES),
        own=_verdict("", cases.opinions[kind][i]),
        others=f"The others: {', '.join(others)}." if others else "There are no others.",
    )
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]


def fitted(text: str, limit: int) -> str:
    """On one line, without orders to a model, at most about `limit` bytes of it, cut at a word."""
    text = text[: 4 * limit]
    text = " ".join((defuse(text) if suspicious_instructions(text) else clean(text)).split()) or "…"
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    cut = raw[:limit].decode("utf-8", "ignore")
    return (cut.rsplit(" ", 1)[0] if " " in cut[len(cut) // 2 :] else cut).rstrip() + "…"


def _verdict(kind: str, opinion: Array) -> str:
    best = int(np.argmax(opinion))
    return f"{kind} {VERDICTS[best]} {opinion[best]:.2f}".strip()


def _named(card: Mapping[str, Any], name: str, key: str) -> str:
    found = card.get(name)
    return str(found.get(key)) if isinstance(found, dict) else "of no name"


def _calibration(card: Mapping[str, Any], path: Path) -> dict[Kind, tuple[float, float]]:
    found = card.get("calibration")
    done: dict[Kind, tuple[float, float]] = {}
    for kind in KINDS:
        pair = found.get(kind) if isinstance(found, dict) else None
        match pair:
            case [int() | float() as slope, int() | float() as shift] if np.isfinite([slope, shift]).all():
                done[kind] = (float(slope), float(shift))
            case _:
                raise weights.unusable(path, f"calibration.{kind} is {str(pair)[:40]}, expected a slope and a shift")
    return done
