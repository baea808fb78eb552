"""Make `_weights/content.npz`: the content models (`weighup/verify/content.py`), their card and their metrics.

    python weights/content.py --data ../shared/data --out src/weighup/_weights

English: LIAR, Constraint, CLIMATE-FEVER, COVID-Fact and Check-COVID, and the training groups of FoolMeTwice and
HealthVer, each a domain of the mixture; Chinese: CED. Claims of a dev or test split are left out of training. How they
are fitted: `weighup/train/content.py`. All choices are made on dev; test is read once.

`--halves DIR` also makes `DIR/half-0` and `DIR/half-1`, whose choices are made on the other half of dev: what EASE is
fitted on must not come from a model that was fitted on the same claims.
"""

from __future__ import annotations

import argparse
import json
import zlib
from datetime import date
from pathlib import Path

import numpy as np
from stance_data import held_out, rows

from weighup.files import sha256
from weighup.metrics import auroc, macro_f1
from weighup.models.open import encoder
from weighup.train.content import fit_chinese, fit_english
from weighup.train.content_parts import Part, by_set
from weighup.train.embedding import embedded
from weighup.train.labelled import text_key
from weighup.verify import weights
from weighup.verify.content import ContentModel

ENGLISH = ("liar", "covid_constraint", "climate_fever", "covid_fact", "check_covid", "fool_me_twice", "healthver")
CHINESE = ("ced_weibo",)


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
    barred = {text_key(r["text"]) for r in dev + test}
    train = [r for r in train if text_key(r["text"]) not in barred]
    found = {"train": train, "dev": dev, "test": test}
    return {split: [r for r in part if r["label3"] in ("real", "fake")] for split, part in found.items()}


def half_of(group: str) -> int:
    """The half of dev, 0 or 1, that a claim group is in."""
    return zlib.crc32(group.encode()) % 2


def halves_of(data: Path, names: tuple[str, ...]) -> np.ndarray:
    """The half of each dev claim, in the order of `parts_of`."""
    dev = [row for name in names for row in splits(data, name)["dev"]]
    return np.array([half_of(str(row.get("group") or text_key(row["text"]))) for row in dev])


def parts_of(data: Path, names: tuple[str, ...], kept: Path | None) -> dict[str, Part]:
    """The splits of several sets put together; English ones with their embeddings."""
    found: dict[str, list[tuple[str, dict]]] = {"train": [], "dev": [], "test": []}
    for name in names:
        for split, own in splits(data, name).items():
            found[split] += [(name, row) for row in own]
    made = {}
    for split, pairs in found.items():
        texts = [row["text"] for _, row in pairs]
        fake = np.array([row["label3"] == "fake" for _, row in pairs], np.int64)
        vectors = embedded(texts, encoder(), kept) if names == ENGLISH else None
        made[split] = Part(texts, fake, np.array([name for name, _ in pairs]), vectors)
        print(", ".join(names), split, len(texts), flush=True)
    return made


def score(model: ContentModel, part: Part, chinese: bool) -> dict[str, dict[str, float]]:
    """For each set macro-F1 at one half and AUROC, by content and by tone alone."""
    tones, flags = part.tones, [chinese] * len(part.texts)
    vectors = part.vectors if part.vectors is not None else np.zeros((len(part.texts), 384), np.float32)
    p = {"content": model.prior(part.texts, vectors, tones, flags), "tone": model.tone(tones, flags)}
    found: dict[str, dict[str, float]] = {}
    for name, values in p.items():
        for measure, by in (("macro_f1", by_set(part, macro_f1, (values >= 0.5).astype(np.int64))),
                            ("auroc", by_set(part, auroc, values))):  # fmt: skip
            for own, value in by.items():
                found.setdefault(own, {})[f"{name}_{measure}"] = round(value, 3)
    return found


def card_of(file: Path, data: Path, metrics: dict) -> dict:
    """The card of content.npz: what it is, what it was made from, what it scores."""
    sha = sha256(file)
    read = [data / "news" / name / f"{s}.jsonl.gz" for name in (*ENGLISH, *CHINESE) for s in ("train", "valid", "test")]
    return {
        "name": "weighup content models",
        "format": weights.FORMAT,
        "version": f"3-{sha[:8]}",
        "licence": "Apache-2.0 (weights); the data sets keep their own licences",
        "sha256": {file.name: sha},
        "made": date.today().isoformat(),
        "data": {str(f.relative_to(data)): sha256(f) for f in read if f.exists()},
        "excluded": {
            "averitec, sick": "non-commercial licences (CC BY-NC 4.0, CC BY-NC-SA 3.0)",
            "test splits": "read to drop the same claim from training, and once for the metrics",
        },
        "metrics": metrics,
    }


def make(out: Path, data: Path, english: dict[str, Part], chinese: dict[str, Part]) -> dict:
    """Write content.npz and a card without scores; what was tried on dev."""
    out.mkdir(parents=True, exist_ok=True)
    arrays, tried = fit_english(english["train"], english["dev"])
    more, tried_zh = fit_chinese(chinese["train"], chinese["dev"])
    file = out / "content.npz"
    np.savez_compressed(file, **arrays, **more)
    (out / "content.json").write_text(json.dumps(card_of(file, data, {}), indent=1) + "\n")
    return {"english": tried, "chinese": tried_zh}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("src/weighup/_weights"))
    parser.add_argument("--vectors", type=Path, help="an .npz that keeps the embeddings between runs")
    parser.add_argument("--halves", type=Path, help="folder for two more models, each fitted without one half of dev")
    args = parser.parse_args()

    english, chinese = parts_of(args.data, ENGLISH, args.vectors), parts_of(args.data, CHINESE, None)
    tried = make(args.out, args.data, english, chinese)
    path = args.out / "content.json"
    card = json.loads(path.read_text())
    model = ContentModel.load(args.out)
    card["metrics"] = {
        "tried_on_dev": tried,
        "dev": score(model, english["dev"], False) | score(model, chinese["dev"], True),
        "test": score(model, english["test"], False) | score(model, chinese["test"], True),
    }
    path.write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card["metrics"], indent=1))
    for half in (0, 1) if args.halves else ():
        apart = [
            {**parts, "dev": parts["dev"].where(halves_of(args.data, names) != half)}
            for parts, names in ((english, ENGLISH), (chinese, CHINESE))
        ]
        make(args.halves / f"half-{half}", args.data, *apart)
        print("half", half, flush=True)


if __name__ == "__main__":
    main()
