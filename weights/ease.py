"""Make `_weights/ease.npz` and its card: opinions, evaluators and experts of EASE (`weighup/verify/ease.py`).

    python weights/ease.py --data ../shared/data --out src/weighup/_weights [--opinions 1500]

Order of fitting, each step on predictions made out of fold (5 folds by claim group), so that nothing learns from its
own training answers: opinion (three classes) -> pseudo label "its verdict matches the label" -> evaluator -> expert
(claims labelled unknown count half real, half fake) -> temperature -> least confidence at which real or fake is said.
Everything is chosen on the fit items; the test splits are read once, for the card.
"""

from __future__ import annotations

import argparse
import json
import pickle
import warnings
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from ease_data import BARE, EVIDENCED, QS, RS, Item, Table, fill, load, table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier

from weighup.files import sha256
from weighup.models import Meter, Question, language_model
from weighup.verify.ease import Ease, evaluator_rows, expert_rows
from weighup.verify.heads import Head
from weighup.verify.prompts import prompt
from weighup.verify.types import KINDS

MEMBERS = 8
warnings.simplefilter("ignore", ConvergenceWarning)  # the networks stop early on purpose
RISK = 1 / 3  # share of wrong calls among held-out real or fake items called, that the threshold keeps to


def weights_of(t: Table, y: np.ndarray) -> np.ndarray:
    """Labels alike within a set, sets by the root of their size."""
    w = np.zeros(len(y))
    for s in np.unique(t.source):
        for label in np.unique(y):
            mine = (t.source == s) & (y == label)
            if mine.any():
                w[mine] = (t.source == s).sum() ** 0.5 / mine.sum() ** 0.75
    return w * len(y) / w.sum()


def fit(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    groups: np.ndarray,
    classes: int,
    hidden: int,
    c: float,
    members: int = MEMBERS,
) -> Head:
    """A bagged head: members differ by the claim groups drawn for them."""
    mean, scale = x.mean(0), x.std(0) + 1e-3
    z = np.clip((x - mean) / scale, -6, 6)
    names, inverse = np.unique(groups, return_inverse=True)
    w1, b1, w2, b2 = [], [], [], []
    for seed in range(members):
        drawn = np.bincount(np.random.default_rng(seed).integers(0, len(names), len(names)), minlength=len(names))
        mw = w * drawn[inverse]
        keep = mw > 0
        if hidden:
            net = MLPClassifier(
                (hidden,), alpha=1 / c, max_iter=20, early_stopping=False, random_state=seed, learning_rate_init=3e-3
            )
            net.fit(z[keep], y[keep], sample_weight=mw[keep])
            w1.append(net.coefs_[0])
            b1.append(net.intercepts_[0])
            top, bias = net.coefs_[1], net.intercepts_[1]
            seen = net.classes_
        else:
            net = LogisticRegression(C=c, max_iter=400).fit(z[keep], y[keep], sample_weight=mw[keep])
            top, bias, seen = net.coef_.T, net.intercept_, net.classes_
        if top.shape[1] == 1:  # two classes come as one logit
            top, bias = np.concatenate([-top / 2, top / 2], 1), np.array([-bias[0] / 2, bias[0] / 2])
        full, fullb = np.zeros((top.shape[0], classes)), np.full(classes, -8.0)
        full[:, seen], fullb[seen] = top, bias
        w2.append(full)
        b2.append(fullb)
    f32 = [np.asarray(a, np.float32) for a in (mean, scale, np.stack(w2), np.stack(b2))]
    first = (np.asarray(np.stack(w1), np.float32), np.asarray(np.stack(b1), np.float32)) if hidden else (None, None)
    return Head(f32[0], f32[1], *first, f32[2], f32[3])


def folded(x, y, w, groups, classes, hidden, c) -> np.ndarray:
    """Out-of-fold probabilities [n, classes]."""
    p = np.zeros((len(y), classes), np.float32)
    for train, held in GroupKFold(5).split(x, y, groups):
        p[held] = fit(x[train], y[train], w[train], groups[train], classes, hidden, c, members=3)(x[held])
    return p


def halves(t: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unknown items twice, as real and as fake, at half weight: the expert learns to sit at 0.5 on them."""
    known, open_ = np.flatnonzero(t.label < 2), np.flatnonzero(t.label == 2)
    index = np.concatenate([known, open_, open_])
    y = np.concatenate([t.label[known], np.zeros(len(open_), int), np.ones(len(open_), int)])
    w = weights_of(t, t.label)[index] * np.where(np.arange(len(index)) < len(known), 1.0, 0.5)
    return rows[index], y, w, index


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    return float(-np.mean(np.log(np.clip(np.where(y == 1, p, 1 - p), 1e-4, 1))))


def log_loss3(p: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(-np.average(np.log(np.clip(p[np.arange(len(y)), y], 1e-4, 1)), weights=w))


def ask(items: list[Item], limit: int, kept: Path | None) -> None:
    """The language model's opinion on `limit` items drawn by a fixed shuffle, in place; `kept` saves what it said."""
    model = language_model()
    judge = prompt("judge", "en")
    said: dict[str, list[float]] = json.loads(kept.read_text()) if kept and kept.exists() else {}
    drawn = [items[i] for i in np.random.default_rng(0).permutation(len(items))]
    chosen = [i for i in drawn if i.source != "ced_weibo"][:limit]
    new = list(dict.fromkeys(i.text for i in chosen if i.text not in said))
    for start in range(0, len(new), 100):
        part = new[start : start + 100]
        questions = [Question(judge.fill(claim=t[:600], passages=""), judge.answers, judge.system) for t in part]
        for text, choice in zip(part, model.choose(questions, meter=Meter()), strict=True):
            said[text] = list(choice.probabilities)
        if kept:
            kept.write_text(json.dumps(said))
        print("asked", start + len(part), "of", len(new), flush=True)
    for item in chosen:
        item.opinion = tuple(said[item.text]) or None


def measure(ease: Ease, items: list[Item], seed: int = 0) -> dict:
    """Per set and q on `items`: EASE and what it should beat, as macro-F1 (real v fake at 0.5), AUROC, calls made."""
    report: dict = {}
    for q in QS:
        t = table(items, [(q, 0.0), (q, 0.3)], seed, ask=0.5)
        ways = run(ease, t)
        known = t.label < 2
        for name in (*EVIDENCED, *BARE):
            here = (t.source == name) & known
            if (name in BARE and q < 1) or not here.any():
                continue
            report.setdefault(name, {})[f"q={q:g}"] = {
                way: {
                    "macro_f1": round(f1_score(t.label[here], p[here] >= 0.5, average="macro"), 3),
                    "auroc": round(roc_auc_score(t.label[here], p[here]), 3),
                }
                for way, p in ways["p"].items()
            } | {
                "called": round(float(ways["called"][t.source == name].mean()), 3),
                "right_when_called": round(
                    float(((ways["p"]["ease"] >= 0.5) == t.label)[(t.source == name) & ways["called"]].mean()), 3
                )
                if ways["called"][t.source == name].any()
                else None,
                "chosen": {
                    k: round(float((ways["chosen"][t.source == name] == i).mean()), 2) for i, k in enumerate(KINDS)
                },
                "brier": round(float(((ways["p"]["ease"] - t.label)[here] ** 2).mean()), 3),
            }
    return report


def run(ease: Ease, t: Table) -> dict:
    """All ways of deciding, on every row."""
    p, rel, floor = {}, {}, {}
    for kind in KINDS:
        rows = t.knowledge[kind]
        opinion = ease.opinion(kind, rows)
        rel[kind] = ease.reliability(kind, rows, opinion)
        if kind == "evidence":
            rel[kind] = np.where(t.has, rel[kind], 0.0).astype(np.float32)
        p[kind] = ease.experts[kind](expert_rows(rows, t.content, rel[kind]))[:, 1]
        floor[kind] = ease.threshold[kind]
    chosen = np.full(len(t.label), 2)
    chosen[rel["reasoning"] >= ease.reliable_at["reasoning"]] = 1
    chosen[t.has & (rel["evidence"] >= ease.reliable_at["evidence"])] = 0
    stacked = np.stack([p[k] for k in KINDS])
    out = {f"{k}_always": p[k] for k in KINDS}
    out["mean"] = stacked.mean(0)
    out["content"] = 1 / (1 + np.exp(-t.content[:, 0]))
    out["ease"] = stacked[chosen, np.arange(len(chosen))]
    confidence = np.maximum(out["ease"], 1 - out["ease"])
    called = confidence >= np.array([floor[k] for k in KINDS])[chosen]
    return {"p": out, "chosen": chosen, "called": called}


def floor_for(p: np.ndarray, y: np.ndarray, risk: float) -> float:
    """Least confidence from which on the share of wrong calls stays within `risk`; 0.99 if none does."""
    confidence, wrong = np.maximum(p, 1 - p), (p >= 0.5).astype(int) != y
    for at in np.arange(0.5, 0.96, 0.01):
        called = confidence >= at
        if called.sum() < 30:
            break
        if wrong[called].mean() <= risk:
            return round(float(at), 2)
    return 0.99


def gathered(args: argparse.Namespace, part: str, limit: int | None) -> list[Item]:
    """Items with everything known about them; read from `--keep` when an earlier run left them there."""
    kept = args.keep / f"items_{part}.pkl" if args.keep else None
    if kept and kept.exists():
        items = pickle.loads(kept.read_bytes())
    else:
        items = load(args.data, part, limit)
        fill(items)
        if kept:
            kept.write_bytes(pickle.dumps(items))
    if args.opinions and part == "fit":  # the test splits are measured as a brief check sees them
        ask(items, args.opinions, args.keep / "opinions.json" if args.keep else None)
    return items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("src/weighup/_weights"))
    parser.add_argument("--opinions", type=int, default=1500, help="items on which the language model is asked")
    parser.add_argument("--shapes", default="0:0.01,0:0.1,8:0.3", help="hidden:C of the heads that are tried")
    parser.add_argument("--keep", type=Path, help="folder that keeps stances and opinions between runs")
    args = parser.parse_args()

    items = gathered(args, "fit", None)
    print(len(items), "fit items", flush=True)
    t = table(items, [(q, r) for q in QS for r in RS], seed=1)
    print(len(t.label), "rows", flush=True)

    tried: dict = {}
    shapes = [(int(h), float(c)) for h, c in (pair.split(":") for pair in args.shapes.split(","))]

    def best(part: str, kind: str, x, y, w, groups, classes, judge) -> tuple[tuple[int, float], np.ndarray]:
        """The shape whose out-of-fold predictions `judge` least, and those predictions."""
        found = {}
        for shape in shapes:
            p = folded(x, y, w, groups, classes, *shape)
            found[shape] = (judge(p), p)
        tried[f"{part}/{kind}"] = {f"hidden={h},C={c}": round(v[0], 4) for (h, c), v in found.items()}
        shape = min(found, key=lambda s: found[s][0])
        return shape, found[shape][1]

    opinions, evaluators, experts, reliable_at, threshold, oof = {}, {}, {}, {}, {}, {}
    for kind in KINDS:
        x = t.knowledge[kind]
        on = t.has if kind == "evidence" else np.ones(len(t.label), bool)
        y3, w = t.label, weights_of(t, t.label)
        shape, p3 = best("opinion", kind, x[on], y3[on], w[on], t.group[on], 3, partial(log_loss3, y=y3[on], w=w[on]))
        opinions[kind] = fit(x[on], y3[on], w[on], t.group[on], 3, *shape)
        right = (p3.argmax(1) == y3[on]).astype(int)
        ev = evaluator_rows(x[on], p3)
        shape, pr = best(
            "evaluator", kind, ev, right, np.ones(on.sum()), t.group[on], 2, lambda p, r=right: log_loss(p[:, 1], r)
        )
        evaluators[kind] = fit(ev, right, np.ones(on.sum()), t.group[on], 2, *shape)
        tried[f"evaluator/{kind}/auroc"] = round(float(roc_auc_score(right, pr[:, 1])), 3)
        reliability = np.zeros(len(t.label), np.float32)
        reliability[on] = pr[:, 1]
        xr = expert_rows(x, t.content, reliability)
        # The evidence expert also learns from items without evidence: it may be asked when there is next to none.
        xs, ys, ws, index = halves(t, xr)
        shape, pe = best("expert", kind, xs, ys, ws, t.group[index], 2, lambda p, y=ys: log_loss(p[:, 1], y))
        head = fit(xs, ys, ws, t.group[index], 2, *shape)
        logits = np.log(np.clip(pe[:, 1], 1e-4, 1 - 1e-4) / np.clip(1 - pe[:, 1], 1e-4, 1))
        temps = np.arange(0.5, 3.01, 0.05)
        temp = float(temps[np.argmin([log_loss(1 / (1 + np.exp(-logits / k)), ys) for k in temps])])
        experts[kind] = Head(head.mean, head.scale, head.w1, head.b1, head.w2, head.b2, temp)
        pf = np.zeros(len(t.label))
        pf[index] = 1 / (1 + np.exp(-logits / temp))
        oof[kind] = (reliability, pf)
        reliable_at[kind] = 0.5
        print(kind, "done", flush=True)

    def chosen_with(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.full(len(t.label), 2)
        chosen[oof["reasoning"][0] >= b] = 1
        chosen[t.has & (oof["evidence"][0] >= a)] = 0
        return chosen, np.stack([oof[k][1] for k in KINDS])[chosen, np.arange(len(chosen))]

    # A verdict of three kinds is right by chance one time in three: nothing below that is ever called reliable.
    known = t.label < 2
    grid = {}
    for a in np.arange(0.35, 0.66, 0.05):
        for b in np.arange(0.35, 0.66, 0.05):
            _, p = chosen_with(a, b)
            grid[(round(a, 2), round(b, 2))] = np.mean(
                [log_loss(p[known & (t.source == s)], t.label[known & (t.source == s)]) for s in EVIDENCED]
            )
    a, b = min(grid, key=grid.__getitem__)
    reliable_at |= {"evidence": a, "reasoning": b}
    chosen, p = chosen_with(a, b)
    for i, kind in enumerate(KINDS):
        mine = known & (chosen == i)
        threshold[kind] = floor_for(p[mine], t.label[mine], RISK)

    arrays = {}
    for part, heads in (("opinion", opinions), ("evaluator", evaluators), ("expert", experts)):
        for kind in KINDS:
            arrays |= heads[kind].arrays(f"{part}/{kind}")
    np.savez_compressed(args.out / "ease.npz", **arrays)
    sha = sha256(args.out / "ease.npz")
    card = {
        "name": "weighup EASE heads",
        "version": f"1-{sha[:8]}",
        "licence": "Apache-2.0",
        "sha256": {"ease.npz": sha, "content.npz": sha256(args.out / "content.npz")},
        "made": date.today().isoformat(),
        "reliable_at": reliable_at,
        "threshold": threshold,
        "risk": RISK,
        "fit_items": {s: sum(i.source == s for i in items) for s in (*EVIDENCED, *BARE)},
        "excluded": "AVeriTeC and SICK (non-commercial) are not in any shipped weight.",
        "tried_out_of_fold": tried,
    }
    ease = Ease.from_parts(opinions, evaluators, experts, card)
    test = gathered(args, "test", 400)
    card["test"] = measure(ease, test)
    (args.out / "ease.json").write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
