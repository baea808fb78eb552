"""Make `_weights/content.npz` and its card: the content models (`weighup/verify/content.py`) and their metrics.

    python weights/content.py --data ../shared/data --out src/weighup/_weights

English prior: bagged logistic heads on MiniLM embedding + tone, and a linear model on hashed words and pairs, fit on
the train splits of LIAR, Constraint, CLIMATE-FEVER, COVID-Fact, Check-COVID and the training groups of FoolMeTwice and
HealthVer (claims of any dev or test split left out).
Real and fake are weighted alike within each set, so that the prior learns wording and subject, not which set a claim is
from. Chinese: logistic regression on hashed character grams of CED. Strength (C) is chosen on dev; test is read once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from stance_data import held_out, key, rows

from weighup.models.open import encoder
from weighup.verify.content import BUCKETS, gram_buckets, gram_norm
from weighup.verify.heads import Head
from weighup.verify.knowledge import logit
from weighup.verify.tone import tone
from weighup.verify.weights import FORMAT

ENGLISH = ("liar", "covid_constraint", "climate_fever", "covid_fact", "check_covid", "fool_me_twice", "healthver")
CHINESE = "ced_weibo"
MEMBERS = 5


def splits(data: Path, name: str) -> dict[str, list[dict]]:
    """Rows with a real/fake label of train, dev and test; sets without a train file give training groups of `valid`."""
    folder = data / "news" / name
    valid, test = rows(folder / "valid.jsonl.gz"), rows(folder / "test.jsonl.gz")
    if (folder / "train.jsonl.gz").exists():
        train, dev = rows(folder / "train.jsonl.gz"), valid
    else:
        groups = [str(r.get("group") or r["text"].lower()) for r in valid]
        dev = [r for r, g in zip(valid, groups, strict=True) if held_out(g)]
        train = [r for r, g in zip(valid, groups, strict=True) if not held_out(g)]
    barred = {key(r["text"]) for r in dev + test}
    train = [r for r in train if key(r["text"]) not in barred]
    found = {"train": train, "dev": dev, "test": test}
    return {split: [r for r in part if r["label3"] in ("real", "fake")] for split, part in found.items()}


def balanced(y: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Weights that make real and fake weigh alike in every set, and a set weigh by the root of its size."""
    weight = np.zeros(len(y))
    for s in np.unique(sets):
        here = sets == s
        for label in (0, 1):
            mine = here & (y == label)
            if mine.any():
                weight[mine] = here.sum() ** 0.5 / mine.sum()
    return weight * len(y) / weight.sum()


def bag(x: np.ndarray, y: np.ndarray, weight: np.ndarray, c: float, members: int = MEMBERS) -> Head:
    """Logistic members, each on a bootstrap sample."""
    mean, scale = x.mean(0), x.std(0) + 1e-3
    z = np.clip((x - mean) / scale, -6, 6)
    w2, b2 = [], []
    for seed in range(members):
        pick = np.random.default_rng(seed).integers(0, len(y), len(y))
        fitted = LogisticRegression(C=c, max_iter=300).fit(z[pick], y[pick], sample_weight=weight[pick])
        w2.append(np.stack([-fitted.coef_[0] / 2, fitted.coef_[0] / 2], 1))
        b2.append(np.array([-fitted.intercept_[0] / 2, fitted.intercept_[0] / 2]))
    as32 = [np.asarray(a, np.float32) for a in (mean, scale, np.stack(w2), np.stack(b2))]
    return Head(as32[0], as32[1], None, None, as32[2], as32[3])


def score(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Macro-F1 at 0.5 and AUROC."""
    return {"macro_f1": round(f1_score(y, p > 0.5, average="macro"), 3), "auroc": round(roc_auc_score(y, p), 3)}


def grams(texts: list[str], chinese: bool) -> csr_matrix:
    """Binary gram vectors of unit length, [n, BUCKETS]."""
    found = [gram_buckets(text, chinese) for text in texts]
    row = np.repeat(np.arange(len(texts)), [len(b) for b in found])
    value = np.repeat([1 / gram_norm(b) for b in found], [len(b) for b in found])
    return csr_matrix((value, (row, np.concatenate(found))), shape=(len(texts), BUCKETS))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def card_of(weights: Path, data: Path, metrics: dict) -> dict:
    """The card of content.npz: what it is, what it was made from, what it scores."""
    sha = sha256(weights)
    read = [data / "news" / name / f"{s}.jsonl.gz" for name in (*ENGLISH, CHINESE) for s in ("train", "valid", "test")]
    return {
        "name": "weighup content models",
        "format": FORMAT,
        "version": f"1-{sha[:8]}",
        "licence": "Apache-2.0 (weights); the data sets keep their own licences",
        "sha256": {weights.name: sha},
        "made": date.today().isoformat(),
        "data": {str(f.relative_to(data)): sha256(f) for f in read if f.exists()},
        "excluded": {
            "averitec, sick": "non-commercial licences (CC BY-NC 4.0, CC BY-NC-SA 3.0)",
            "test splits": "read to drop the same claim from training, and once for the metrics",
        },
        "metrics": metrics,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("src/weighup/_weights"))
    parser.add_argument("--vectors", type=Path, help="folder that keeps the embeddings between runs")
    args = parser.parse_args()

    enc = encoder()
    parts: dict[str, list] = {"train": [], "dev": [], "test": []}
    for name in ENGLISH:
        for split, found in splits(args.data, name).items():
            parts[split] += [(name, r) for r in found]
    x, y, sets, tones, words = {}, {}, {}, {}, {}
    for split, found in parts.items():
        texts = [r["text"] for _, r in found]
        tones[split] = tone(texts)
        words[split] = grams(texts, chinese=False)
        kept = args.vectors / f"{split}.npy" if args.vectors else None
        vectors = np.load(kept) if kept and kept.exists() else enc.encode(texts)
        if kept:
            np.save(kept, vectors)
        x[split] = np.concatenate([vectors, tones[split]], 1)
        y[split] = np.array([r["label3"] == "fake" for _, r in found], int)
        sets[split] = np.array([name for name, _ in found])
        print(split, len(texts), flush=True)

    def table(p: np.ndarray, split: str) -> dict[str, dict[str, float]]:
        return {s: score(p[sets[split] == s], y[split][sets[split] == s]) for s in ENGLISH}

    def mean_auroc(p: np.ndarray) -> float:
        return round(float(np.mean([v["auroc"] for v in table(p, "dev").values()])), 4)

    weight = balanced(y["train"], sets["train"])
    tried, by_c = {}, {}
    for c in (0.0003, 0.003, 0.03):
        by_c[c] = bag(x["train"], y["train"], weight, c)
        tried[f"embedding, C={c:g}"] = mean_auroc(by_c[c](x["dev"])[:, 1])
    prior = by_c[max(by_c, key=lambda c: tried[f"embedding, C={c:g}"])]
    tone_head = bag(tones["train"], y["train"], weight, 0.01)
    fits = {}
    for c in (0.3, 1, 3):
        fits[c] = LogisticRegression(C=c, max_iter=300).fit(words["train"], y["train"], sample_weight=weight)
        tried[f"grams, C={c:g}"] = mean_auroc(fits[c].predict_proba(words["dev"])[:, 1])
    gram = fits[max(fits, key=lambda c: tried[f"grams, C={c:g}"])]

    def both(split: str) -> np.ndarray:
        return 1 / (1 + np.exp(-(logit(prior(x[split])[:, 1]) + gram.decision_function(words[split])) / 2))

    tried["mean of both"] = mean_auroc(both("dev"))

    ced = splits(args.data, CHINESE)
    zh = {s: grams([r["text"] for r in found], chinese=True) for s, found in ced.items()}
    zh_y = {s: np.array([r["label3"] == "fake" for r in found], int) for s, found in ced.items()}
    zh_tried = {}
    for c in (0.3, 1, 3, 10):
        fitted = LogisticRegression(C=c, max_iter=500, class_weight="balanced").fit(zh["train"], zh_y["train"])
        zh_tried[c] = round(float(f1_score(zh_y["dev"], fitted.predict(zh["dev"]), average="macro")), 4)
    zh_best = max(zh_tried, key=zh_tried.__getitem__)
    fitted = LogisticRegression(C=zh_best, max_iter=500, class_weight="balanced").fit(zh["train"], zh_y["train"])
    zh_tone = tone([r["text"] for r in ced["train"]])
    tone_zh = bag(zh_tone, zh_y["train"], np.ones(len(zh_tone)), 0.01)

    np.savez_compressed(
        args.out / "content.npz",
        **prior.arrays("prior"),
        **tone_head.arrays("tone"),
        **tone_zh.arrays("tone_zh"),
        grams_en=gram.coef_[0].astype(np.float16),
        grams_en_bias=np.float32(gram.intercept_[0]),
        grams_zh=fitted.coef_[0].astype(np.float16),
        grams_zh_bias=np.float32(fitted.intercept_[0]),
    )
    metrics = {
        "dev_mean_auroc": tried,
        "test_prior": table(both("test"), "test"),
        "test_tone": table(tone_head(tones["test"])[:, 1], "test"),
        "chinese_dev_macro_f1_by_C": zh_tried,
        "chinese_test": score(fitted.predict_proba(zh["test"])[:, 1], zh_y["test"]),
        "chinese_test_tone": score(tone_zh(tone([r["text"] for r in ced["test"]]))[:, 1], zh_y["test"]),
    }
    card = card_of(args.out / "content.npz", args.data, metrics)
    (args.out / "content.json").write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
