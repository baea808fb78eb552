"""Content models from a user's own labelled rows: read, split, fitted, written whole, with a card.

A CSV with `text` and `label` is enough. What a language has too little of is taken over from the shipped weights, and
the card says so.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.errors import InvalidInput, JobFailed
from weighup.files import sha256
from weighup.metrics import auroc, macro_f1
from weighup.models.types import Encoder
from weighup.texts import clean, language
from weighup.train.content import fit_chinese, fit_english
from weighup.train.content_parts import Part, by_set
from weighup.train.embedding import embedded
from weighup.train.labelled import LABELS, LEAST, Labelled
from weighup.verify import weights
from weighup.verify.content import ContentModel

_OWN = {"en": ("en/", "en_dense", "tone/", "mix", "gate/", "memory/", "own"), "zh": ("zh/", "tone_zh/")}
"""How the names of a language's arrays begin."""


@dataclass(frozen=True)
class Trained:
    """What came of it: the folder, the card, and what the user should be told."""

    folder: Path
    card: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def train_content(
    rows: Sequence[Labelled], out: Path, encoder: Encoder, *, config: Mapping[str, Any], advance: Advance
) -> Trained:
    """Fit on the rows of split train, choose on valid, measure on test, and write `content.npz` and its card to `out`.

    Every row names its split (`splits.split_groups`). Embeddings are kept in `out` while this runs, so that a stopped
    run goes on; the result appears whole or not at all. `config` goes on the card. Raises InvalidInput if no language
    has enough rows, JobFailed if `out` cannot be written.
    """
    by_language, notes = _by_language(rows)
    arrays: dict[str, NDArray[Any]] = {}
    tried: dict[str, dict[str, float]] = {}
    parts: dict[str, dict[str, Part]] = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        kept = out / ".vectors.npz"
        for lang, own in by_language.items():
            vectors = embedded([_text(row) for row in own], encoder, kept, advance) if lang == "en" else None
            parts[lang] = _parts(own, vectors)
            advance(0, note=f"fitting {lang}")
            fit = fit_english if lang == "en" else fit_chinese
            found, tried[lang] = fit(parts[lang]["train"], parts[lang]["valid"])
            arrays |= found
        shipped = weights.Arrays.read(weights.SHIPPED / "content.npz").found
        for lang in _OWN.keys() - by_language.keys():
            arrays |= {name: array for name, array in shipped.items() if name.startswith(_OWN[lang])}
            notes.append(f"{lang}: too little data, the shipped weights were taken over")
        card = _write(arrays, out, config, parts, tried, notes)
        kept.unlink(missing_ok=True)
    except OSError as error:
        raise JobFailed(f"{out}: cannot be written: {error.strerror or error}; run again to go on") from error
    return Trained(out, card, notes)


def _by_language(rows: Sequence[Labelled]) -> tuple[dict[str, list[Labelled]], list[str]]:
    """Rows that are real or fake by language, for the languages that there is enough of; and what was left out."""
    notes: list[str] = []
    found: dict[str, list[Labelled]] = {"en": [], "zh": []}
    unknown = other = 0
    for row in rows:
        lang = language(_text(row))
        if row.label > 1:
            unknown += 1
        elif lang == "other":
            other += 1
        else:
            found["zh" if lang == "zh" else "en"].append(row)
    if unknown:
        notes.append(f"{unknown:,} rows labelled unknown were not learned from")
    if other:
        notes.append(f"{other:,} rows in other languages than English and Chinese were not learned from")
    enough = {lang: own for lang, own in found.items() if _enough(own)}
    if not enough:
        told = ", ".join(
            f"{len(own):,} in {name}" for name, own in (("English", found["en"]), ("Chinese", found["zh"]))
        )
        raise InvalidInput(
            f"too little to learn from ({told}): needs {LEAST} real and {LEAST} fake rows of one language in train, "
            "and both in valid"
        )
    return enough, notes


def _enough(rows: Sequence[Labelled]) -> bool:
    for split, least in (("train", LEAST), ("valid", 1)):
        counts = [sum(row.label == label and row.split == split for row in rows) for label in (0, 1)]
        if min(counts) < least:
            return False
    return True


def _parts(rows: Sequence[Labelled], vectors: NDArray[np.float32] | None) -> dict[str, Part]:
    made = {}
    for split in ("train", "valid", "test"):
        here = [i for i, row in enumerate(rows) if row.split == split]
        made[split] = Part(
            [_text(rows[i]) for i in here],
            np.array([rows[i].label for i in here], np.int64),
            np.array([Path(rows[i].file).parent.name + "/" + Path(rows[i].file).name for i in here], np.str_),
            None if vectors is None else vectors[here],
        )
    return made


def _text(row: Labelled) -> str:
    return clean(row.claim.text)


def _write(
    arrays: Mapping[str, NDArray[Any]],
    out: Path,
    config: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Part]],
    tried: Mapping[str, Mapping[str, float]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Write beside, measure what was written, and put both files in place, the card last."""
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as folder:
        beside = Path(folder)
        with (beside / "content.npz").open("wb") as file:
            np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]
        sha = sha256(beside / "content.npz")
        card: dict[str, Any] = {
            "name": "weighup content models, trained by weighup train content",
            "format": weights.FORMAT,
            "version": f"own-{sha[:8]}",
            "sha256": {"content.npz": sha},
            "made": date.today().isoformat(),
            "config": dict(config),
            "rows": {
                lang: {
                    split: {name: int((part.fake == label).sum()) for label, name in enumerate(LABELS[:2])}
                    for split, part in splits.items()
                }
                for lang, splits in parts.items()
            },
            "notes": list(notes),
            "tried_on_valid_auroc": {lang: dict(found) for lang, found in tried.items()},
        }
        path = beside / "content.json"
        path.write_text(json.dumps(card), encoding="utf-8")
        model = ContentModel.load(beside)
        card["metrics"] = {
            split: {lang: _scores(model, splits[split], lang) for lang, splits in parts.items()}
            for split in ("valid", "test")
        }
        path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for name in ("content.npz", "content.json"):
            os.replace(beside / name, out / name)
    return card


def _scores(model: ContentModel, part: Part, lang: str) -> dict[str, Any]:
    """Macro-F1 at one half and AUROC, over all rows and by file."""
    if len(set(part.fake.tolist())) < 2:
        return {"rows": len(part.fake)}
    vectors = part.vectors
    if vectors is None:  # not looked at for Chinese, but there must be a row for each claim
        vectors = np.zeros((len(part.fake), model.dimension), np.float32)
    p = model.prior(part.texts, vectors, part.tones, [lang == "zh"] * len(part.fake))
    called = (p >= 0.5).astype(np.int64)
    return {
        "rows": len(part.fake),
        "macro_f1": round(macro_f1(part.fake, called), 4),
        "auroc": round(auroc(part.fake, p), 4),
        "auroc_by_file": {name: round(value, 4) for name, value in by_set(part, auroc, p).items()},
    }
