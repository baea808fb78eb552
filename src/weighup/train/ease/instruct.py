"""The evaluators of EASE as the paper has them (arXiv 2510.11277): a language model tuned to say of a perspective why
it may be relied on or not, then "reliable" or "not reliable".

Pseudo label: reliable where the perspective's own verdict, given by heads that did not see the claim, matches the
label. The justification that is taught quotes what the perspective says and tells how its verdict stands to the
others'; it never tells the label. Half of the examples ask for the deciding word at once, so that its probability can
be had without writing. Examples are balanced over kinds, sets and labels; the probabilities are put right afterwards on
claims held out (Platt 1999), which is also where they are measured, each half by what the other half gave.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.errors import InvalidInput, JobFailed
from weighup.files import sha256
from weighup.models.backend import Message
from weighup.models.catalogue import asset, require
from weighup.train.ease import steps
from weighup.train.ease.fit import Evaluators, evaluator_scores, there
from weighup.train.ease.table import Table
from weighup.verify import weights
from weighup.verify.evaluators import (
    BASE,
    DECIDING,
    PROMPT_VERSION,
    TELLING_BYTES,
    WHY,
    WORDS,
    Cases,
    LanguageModelEvaluator,
    fitted,
    messages,
    reads,
)
from weighup.verify.justify import agreement, quotable, stands, verdict_of
from weighup.verify.types import KINDS, Kind

if TYPE_CHECKING:
    from weighup.train.ease.adapter import Recipe, Tuned

STATE = "evaluator-lm.pt"
HELD = 0.3
"""Share of claim groups that nothing is taught of."""
CHECKED = 8
FURTHEST = 0.15
"""P(reliable) by the engine may be so far from torch's on average over `CHECKED` claims: it rounds products."""
_NEEDS = ("torch", "transformers", "peft", "gguf", "sklearn")
_QUOTED = 90
_STRONGEST = re.compile(r"Weighs most \((\w+)\): “(.+?)(?:”(?: \([^“”]*\)?…?)?(?: In [^“”]* words: |$)|$)", re.S)
_IN_WORDS = re.compile(r"In [^“”]* words: “(.+?)”?$", re.S)
_VERBS = {"supports": "supports it", "refutes": "refutes it", "neutral": "says nothing either way"}


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to teach: what is asked, how the answer begins, goes on, and ends."""

    kind: Kind
    source: str
    right: bool
    asked: tuple[Message, ...]
    justification: str | None

    @property
    def opening(self) -> list[Message]:
        """What is asked, and how the answer begins."""
        return [*self.asked, Message(role="assistant", content=DECIDING if self.justification is None else WHY)]

    @property
    def before(self) -> str:
        """The answer between its beginning and its deciding words."""
        return "" if self.justification is None else f" {self.justification} {DECIDING}"

    @property
    def deciding(self) -> str:
        """The deciding words."""
        return WORDS[0] if self.right else WORDS[1]


def require_training() -> None:
    """Raise JobFailed unless what tuning imports is installed."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        named = ", ".join(missing).replace("sklearn", "scikit-learn")
        raise JobFailed(f"tuning the language model needs {named}; pip install 'weighup[train]'")


def train_language_model(
    table: Table,
    evaluated: Evaluators,
    out: Path,
    *,
    examples: int = 4000,
    measured: int = 300,
    recipe: Recipe | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    advance: Advance,
) -> dict[str, Any]:
    """Tune on at most `examples`, measure on at most `measured` held-out claims of each kind, and write
    `evaluator.gguf` and its card to `out`, whole or not at all. Returns the card.

    Goes on from `out/.ease` if it was stopped. Raises InvalidInput if there is too little to learn from, JobFailed if
    something is not installed, `out` cannot be written, or the engine does not say what torch says.
    """
    require_training()
    from weighup.train.ease.adapter import Recipe, Tuned

    recipe = recipe or Recipe(seed=seed)
    chosen = examples_of(table, evaluated, examples, seed)
    tuned = Tuned(require(BASE), recipe)
    lessons = [tuned.lesson(one.opening, one.before, one.deciding) for one in chosen]
    kept = [lesson for lesson in lessons if lesson is not None]
    state = out / steps.FOLDER / STATE
    try:
        done = tuned.fit(kept, state=state, advance=advance)
        cases = cases_of(table, evaluated)
        held = held_rows(table, measured, seed)
        odds = {kind: _log_odds(tuned, kind, cases, rows, advance) for kind, rows in held.items()}
        calibration, report = measure(table, evaluated, held, odds)
        card: dict[str, Any] = {
            "name": "weighup evaluator, a language model",
            "format": weights.FORMAT,
            "licence": "Apache-2.0",
            "made": date.today().isoformat(),
            "base": {"name": BASE, "sha256": asset(BASE).sha256},
            "prompt": {"version": PROMPT_VERSION},
            "calibration": calibration,
            "recipe": asdict(recipe),
            "config": dict(config or {}),
            "seed": seed,
            "examples": _counts(chosen),
            "too_long": len(lessons) - len(kept),
            "fitted": {**asdict(done), "loss": round(done.loss, 4), "minutes": round(done.minutes, 2)},
            "held_out": report,
        }
        _write(tuned, card, out, cases, held, odds)
        state.unlink(missing_ok=True)
    except OSError as error:
        raise JobFailed(f"{out}: cannot be written: {error.strerror or error}; run again to go on") from error
    return card


def examples_of(table: Table, evaluated: Evaluators, limit: int, seed: int) -> list[Example]:
    """At most `limit` examples of claims that are not held out, in turn one of each kind, set and label.

    Raises InvalidInput if a label is missing.
    """
    cases = cases_of(table, evaluated)
    held = is_held(table.group)
    cells: dict[tuple[Kind, str, bool], list[int]] = {}
    for kind in KINDS:
        right = evaluated.opinion[kind].argmax(1) == table.label
        for i in np.flatnonzero(_usable(table, kind) & ~held):
            cells.setdefault((kind, str(table.source[i]), bool(right[i])), []).append(int(i))
    if len({right for _, _, right in cells}) < 2:
        raise InvalidInput("needs perspectives that are right and perspectives that are wrong to learn from")
    rng = random.Random(seed)
    turns: list[tuple[int, float, tuple[Kind, str, bool], int]] = []
    for cell, rows in cells.items():
        rng.shuffle(rows)
        turns += [(turn, rng.random(), cell, row) for turn, row in enumerate(rows)]
    found = []
    for _, chance, (kind, source, reliable), row in sorted(turns)[:limit]:
        told = grounds(kind, cases, row) if chance < 0.5 else None
        found.append(Example(kind, source, reliable, tuple(messages(kind, cases, row)), told))
    rng.shuffle(found)
    return found


def cases_of(table: Table, evaluated: Evaluators) -> Cases:
    """The table's rows as an evaluator sees them, with verdicts out of fold."""
    return Cases(
        texts=[table.texts[i] for i in table.claim],
        tellings={kind: [table.tellings[i] for i in table.told[kind]] for kind in KINDS},
        rows=table.knowledge,
        opinions=evaluated.opinion,
        on={kind: there(table, kind) for kind in KINDS},
    )


def grounds(kind: Kind, cases: Cases, i: int) -> str:
    """The justification that is taught: what the perspective says, quoted as it was read, and how its verdict stands to
    the others'. It does not tell whether the verdict is right."""
    telling = fitted(cases.tellings[kind][i], TELLING_BYTES)
    strongest, worded = _STRONGEST.search(telling), _IN_WORDS.search(telling)
    if kind == "evidence" and strongest is not None:
        said = f"it rests on “{quotable(strongest[2], _QUOTED)}”, which {_VERBS.get(strongest[1], 'is about it')}"
    elif kind == "reasoning" and worded is not None:
        said = f"it rests on “{quotable(worded[1], _QUOTED)}”"
    else:
        said = f"it rests on “{quotable(telling.rstrip('…'), _QUOTED)}”"
    own = verdict_of(cases.opinions[kind][i])
    others = {k: verdict_of(cases.opinions[k][i]) for k in KINDS if k != kind and cases.on[k][i]}
    text = f"{said}; {agreement(own, others)}." if others else f"{said}."
    return (
        text if stands(text, cases.tellings[kind][i]) else f"{agreement(own, others) or 'there are no other verdicts'}."
    )


def is_held(groups: NDArray[np.str_], share: float = HELD) -> NDArray[np.bool_]:
    """Whether a claim's group is held out [n]: by its name alone, so that every run holds out the same."""
    return np.asarray([_place(str(group)) < share for group in groups])


def held_rows(table: Table, limit: int, seed: int) -> dict[Kind, NDArray[np.int64]]:
    """At most `limit` held-out rows of each kind, drawn as they come. Raises InvalidInput if there are none."""
    held = is_held(table.group)
    rng = np.random.default_rng(seed)
    found = {}
    for kind in KINDS:
        rows = np.flatnonzero(_usable(table, kind) & held)
        found[kind] = np.sort(rng.permutation(rows)[:limit])
    if empty := [kind for kind, rows in found.items() if not len(rows)]:
        raise InvalidInput(f"no {' or '.join(empty)} perspective is held out to be measured on; there are too few rows")
    return found


def measure(
    table: Table,
    evaluated: Evaluators,
    held: Mapping[Kind, NDArray[np.int64]],
    odds: Mapping[Kind, NDArray[np.float32]],
) -> tuple[dict[Kind, list[float]], dict[str, Any]]:
    """Slope and shift of the log-odds by kind, fitted on all held-out rows, and the scores of P(reliable) on them by
    kind, set and q: of the language model, each half of the groups put right by the other half; of the same, as it
    came; and of the heads, out of fold."""
    calibration: dict[Kind, list[float]] = {}
    report: dict[str, Any] = {"language_model": {}, "language_model_as_it_came": {}, "heads": {}}
    for kind, rows in held.items():
        part = table.taken(rows)
        right = (evaluated.opinion[kind][rows].argmax(1) == part.label).astype(np.int64)
        first = np.asarray([_place(f"half\0{group}") < 0.5 for group in part.group])
        p = np.zeros(len(rows), np.float32)
        for mine in (first, ~first):
            slope, shift = platt(odds[kind][~mine], right[~mine])
            p[mine] = _sigmoid(slope * odds[kind][mine] + shift)
        calibration[kind] = [round(v, 4) for v in platt(odds[kind], right)]
        report["language_model"][kind] = evaluator_scores(right, p, part)
        report["language_model_as_it_came"][kind] = evaluator_scores(right, _sigmoid(odds[kind]), part)
        report["heads"][kind] = evaluator_scores(right, evaluated.reliability[kind][rows], part)
    return calibration, report


def platt(odds: NDArray[np.float32], right: NDArray[np.int64]) -> tuple[float, float]:
    """Slope and shift of log-odds that fit 0 and 1 best; 1 and 0 where there is only one of them. The slope is kept
    from turning the order around."""
    from sklearn.linear_model import LogisticRegression

    if len(set(right.tolist())) < 2:
        return 1.0, 0.0
    line = LogisticRegression(C=10.0).fit(odds[:, None], right)
    slope, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope <= 0:
        mean = float(np.clip(right.mean(), 0.01, 0.99))
        return 0.0, float(np.log(mean / (1 - mean)))
    return slope, shift


def _usable(table: Table, kind: Kind) -> NDArray[np.bool_]:
    english = np.asarray([reads(text) for text in table.texts], np.bool_)
    return np.asarray(there(table, kind) & english[table.claim], np.bool_)


def _log_odds(tuned: Tuned, kind: Kind, cases: Cases, rows: NDArray[np.int64], advance: Advance) -> NDArray[np.float32]:
    decide = Message(role="assistant", content=DECIDING)
    prompts = [tuned.prompt([*messages(kind, cases, int(i)), decide]) for i in rows]
    return tuned.log_odds(prompts, WORDS, advance=advance)


def _write(
    tuned: Tuned,
    card: dict[str, Any],
    out: Path,
    cases: Cases,
    held: Mapping[Kind, NDArray[np.int64]],
    odds: Mapping[Kind, NDArray[np.float32]],
) -> None:
    """Export, compare what the engine says with what torch said, and put both files in place, the card last."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as folder:
        beside = Path(folder)
        tuned.export(beside / "evaluator.gguf")
        sha = sha256(beside / "evaluator.gguf")
        card |= {"version": f"lm-{sha[:8]}", "sha256": {"evaluator.gguf": sha}}
        (beside / "evaluator.json").write_text(json.dumps(card), encoding="utf-8")
        engine = LanguageModelEvaluator.load(beside, threads=1)
        apart = []
        for kind, rows in held.items():
            for at in range(min(len(rows), -(-CHECKED // len(KINDS)))):
                said = engine.log_odds(kind, one_case(cases, int(rows[at])))
                apart.append(float(abs(_sigmoid(said)[0] - _sigmoid(odds[kind][at]))))
        card["engine_against_torch"] = {
            "claims": len(apart), "mean": round(float(np.mean(apart)), 4), "most": round(max(apart), 4),
        }  # fmt: skip
        if np.mean(apart) > FURTHEST:
            raise JobFailed(
                f"the engine's probabilities are {np.mean(apart):.2f} from torch's on average, expected at most "
                f"{FURTHEST}: the adapter was not written as llama.cpp reads it"
            )
        text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        (beside / "evaluator.json").write_text(text, encoding="utf-8")
        for name in ("evaluator.gguf", "evaluator.json"):
            os.replace(beside / name, out / name)


def one_case(cases: Cases, i: int) -> Cases:
    """One of the claims."""
    return Cases(
        [cases.texts[i]],
        {kind: [cases.tellings[kind][i]] for kind in KINDS},
        {kind: cases.rows[kind][i : i + 1] for kind in KINDS},
        {kind: cases.opinions[kind][i : i + 1] for kind in KINDS},
        {kind: cases.on[kind][i : i + 1] for kind in KINDS},
    )


def _counts(chosen: Sequence[Example]) -> dict[str, Any]:
    counted = Counter((one.kind, one.source, one.right) for one in chosen)
    told: dict[str, Any] = {"all": len(chosen), "justified": sum(one.justification is not None for one in chosen)}
    for (kind, source, right), n in sorted(counted.items()):
        told.setdefault(kind, {}).setdefault(source, {})["reliable" if right else "not reliable"] = n
    return told


def _place(name: str) -> float:
    """A number in [0, 1) that a name always gets."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:6], "big") / 2**48


def _sigmoid(odds: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))), np.float32)
