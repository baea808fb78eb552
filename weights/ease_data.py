"""Items for fitting and measuring the EASE heads: claims with evidence thinned out and diluted.

Protocol: each evidence item is kept with probability q in {1, .75, .5, .25, 0}; a kept one is swapped for a passage of
another claim of the same set with probability r in {0, .3}. Stances are taken once per pair and shared by variants.
Fit items are those the stance model did not train on (its dev split), measured ones the test splits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from stance_data import held_out, rows

from weighup.models.open import encoder
from weighup.retrieve.types import Evidence
from weighup.texts import language, words
from weighup.verify.content import ContentModel
from weighup.verify.decision import content_row
from weighup.verify.evidence import numbers, take_stances
from weighup.verify.gathering import Wanted, best_own
from weighup.verify.knowledge import reasoning_row, sentiment_row
from weighup.verify.stance import StanceModel
from weighup.verify.tone import tone
from weighup.verify.types import Stanced

EVIDENCED = ("climate_fever", "covid_fact", "check_covid", "fool_me_twice", "healthver")
BARE = ("liar", "covid_constraint", "ced_weibo")
QS, RS = (1.0, 0.75, 0.5, 0.25, 0.0), (0.0, 0.3)
PASSAGES = 5
LABELS = {"real": 0, "fake": 1, "unknown": 2}


@dataclass
class Item:
    """A labelled claim with everything the perspectives are made of. `opinion` is the language model's, if asked."""

    text: str
    label: int
    source: str
    group: str
    own: list[Evidence]
    strange: list[Evidence] = field(default_factory=list)
    stances: dict[str, Stanced] = field(default_factory=dict)
    prior: float = 0.5
    leaning: float = 0.5
    tones: np.ndarray | None = None
    opinion: tuple[float, float, float] | None = None


def load(data: Path, part: str, limit: int | None = None) -> list[Item]:
    """Items of `part` ("fit" or "test") of every set, at most `limit` of each set (the first by a fixed shuffle)."""
    found: list[Item] = []
    for name in (*EVIDENCED, *BARE):
        folder = data / "news" / name
        records = rows(folder / ("test.jsonl.gz" if part == "test" else "valid.jsonl.gz"))
        if part == "fit" and not (folder / "train.jsonl.gz").exists():
            records = [r for r in records if held_out(str(r.get("group") or r["text"].lower()))]
        random.Random(0).shuffle(records)
        cap = limit if name in EVIDENCED or limit is not None else 400
        items = [
            Item(
                text=r["text"],
                label=LABELS[r["label3"]],
                source=name,
                group=f"{name}:{r.get('group') or r['text'].lower()}",
                own=[Evidence(text=t, origin="row") for t in dict.fromkeys(e["text"] for e in r["evidence"] or ())],
            )
            for r in records[:cap]
        ]
        pool = [e for i in items for e in i.own]
        for index, item in enumerate(items):
            if pool:
                item.strange = random.Random(index).sample(pool, min(3, len(pool)))
        found += items
    return found


def fill(items: list[Item]) -> None:
    """Take all stances, priors and tones, in place."""
    model, enc, content = StanceModel.load(), encoder(), ContentModel.load()
    passages = [[*i.own, *i.strange] for i in items]
    for item, judged in zip(items, take_stances(model, [i.text for i in items], passages), strict=True):
        item.stances = {s.evidence.text: s for s in judged}
    texts = [i.text for i in items]
    chinese = [language(t) == "zh" for t in texts]
    tones = tone(texts)
    priors = content.prior(texts, enc.encode(texts), tones, chinese)
    leanings = content.tone(tones, chinese)
    for index, item in enumerate(items):
        item.prior, item.leaning, item.tones = float(priors[index]), float(leanings[index]), tones[index]


@dataclass
class Table:
    """Rows for the heads: per kind knowledge, content, labels, and where each came from."""

    knowledge: dict[str, np.ndarray]
    content: np.ndarray
    label: np.ndarray
    source: np.ndarray
    group: np.ndarray
    q: np.ndarray
    has: np.ndarray


def table(items: list[Item], variants: list[tuple[float, float]], seed: int, ask: float | None = 0.5) -> Table:
    """One row per item and variant (q, r). `ask`: share of rows that show the language model's opinion, if any."""
    out: dict[str, list] = {
        k: [] for k in ("evidence", "reasoning", "sentiment", "content", "y", "source", "group", "q", "has")
    }
    for index, item in enumerate(items):
        chinese = language(item.text) == "zh"
        for q, r in variants if item.own else variants[:1]:
            rng = random.Random(f"{seed}:{index}:{q}:{r}")
            kept = [e for e in item.own if rng.random() < q]
            kept = [rng.choice(item.strange) if item.strange and rng.random() < r else e for e in kept]
            kept = list({e.text: e for e in kept}.values())
            chosen = best_own(Wanted(item.text, "en", None, tuple(kept)), PASSAGES)
            shown = item.opinion if item.opinion is not None and rng.random() < (ask or 0) else None
            out["evidence"].append(numbers(item.text, [item.stances[e.text] for e in chosen]))
            out["reasoning"].append(reasoning_row(item.prior, shown, chinese))
            out["sentiment"].append(sentiment_row(item.leaning, chinese, len(words(item.text))))
            out["content"].append(content_row(item.prior, item.tones))
            for key, value in (("y", item.label), ("source", item.source), ("group", item.group), ("q", q)):
                out[key].append(value)
            out["has"].append(bool(chosen))
    return Table(
        {k: np.asarray(out[k], np.float32) for k in ("evidence", "reasoning", "sentiment")},
        np.asarray(out["content"], np.float32),
        *(np.asarray(out[k]) for k in ("y", "source", "group", "q", "has")),
    )
