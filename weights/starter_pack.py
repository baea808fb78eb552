"""Make the starter evidence pack: Wikipedia sentences, as documents by page, with their vectors.

    WEIGHUP_DATA=../shared/data python weights/starter_pack.py

From `fool_me_twice` (Eisenschlos et al. 2021, arXiv 2104.04725; Apache-2.0) and `climate_fever` (Diggelmann et al.
2020, arXiv 2012.00614), evidence sentences of all splits. Claims, labels, stances and the mark `gold` stay behind: the
pack says what Wikipedia said and nothing of what anybody judged. Within a page sentences are in alphabetical order,
so that their place tells nothing either. Writes starter_pack.jsonl.xz and starter_pack.npy (int8 [passages, 384]).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np

from weighup.console import progress
from weighup.models.onnx_encoder import OnnxEncoder
from weighup.retrieve.rowfiles import Broken, from_row
from weighup.retrieve.vectors import quantise
from weighup.retrieve.writer import prepare

ROOT = Path(__file__).resolve().parents[1]
# Set: splits, which field of a row or an evidence item names the page, and when it was collected: the month its paper
# came out. A bare month counts as its last second, so nothing here can be older than it claims.
SETS = {
    "fool_me_twice": (("valid", "test"), "row", "2021-04"),
    "climate_fever": (("train", "valid", "test"), "item", "2020-12"),
}


def main() -> None:
    """Read the sets, cut, embed and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "weighup" / "_data")
    out = parser.parse_args().out
    news = Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data")) / "news"
    rows = [row for name in SETS for row in documents(news, name)]
    encoder = OnnxEncoder.load()
    passages: list[str] = []
    for number, row in enumerate(rows, start=1):
        document = from_row(row, "pack", number)
        if isinstance(document, Broken):
            raise SystemExit(str(document))
        passages += prepare(document).passages()
    blocks = []
    with progress("embedding", len(passages)) as advance:
        for at in range(0, len(passages), 512):
            blocks.append(quantise(encoder.encode(passages[at : at + 512])))
            advance(len(blocks[-1]))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (out / "starter_pack.jsonl.xz").write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    np.save(out / "starter_pack.npy", np.concatenate(blocks))
    print(f"{len(rows):,} documents, {len(passages):,} passages, vectors by {encoder.name} {encoder.version}")
    for name in ("starter_pack.jsonl.xz", "starter_pack.npy"):
        content = (out / name).read_bytes()
        print(f"{name}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def documents(news: Path, name: str) -> Iterator[dict[str, str]]:
    """One row a Wikipedia page of the set: its distinct sentences, a blank line between them."""
    splits, place, collected = SETS[name]
    pages: dict[str, set[str]] = {}
    for split in splits:
        with gzip.open(news / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                for item in row["evidence"]:
                    title = row["source"] if place == "row" else item["title"]
                    pages.setdefault(title, set()).add(" ".join(item["text"].split()))
    for title, sentences in sorted(pages.items()):
        yield {
            "id": f"{name}/{title}",
            "text": "\n\n".join(sorted(sentences)),
            "title": title,
            "url": "https://en.wikipedia.org/wiki/" + quote(title.replace(" ", "_"), safe="/:(),'!"),
            "date": collected,
            "source": "Wikipedia",
            "lang": "en",
        }


if __name__ == "__main__":
    main()
