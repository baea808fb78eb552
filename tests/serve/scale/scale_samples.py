"""Checkers for workers that do what a claim asks of them, and rows for the real one."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput, ModelMissing
from weighup.verify.contract import UsageView, Verdict
from weighup.verify.types import Claim

BATCH = 3
"""Rows checked together."""
SUBJECTS = ("The mayor of Dover", "A river in Chile", "The new vaccine", "Dover Beach", "The city council")
ACTS = ("resigned in May", "is poisonous", "was never tested", "won an award in 2012", "has two thousand members")
SAID = ("won an award", "was tested in three trials", "is a poem", "resigned", "has four members", "is clean")


def claims(count: int) -> list[dict[str, Any]]:
    """Rows with passages of their own, no two alike, the same each time."""
    return [
        {
            "id": i,
            "text": f"{SUBJECTS[i % 5]} {ACTS[i // 5 % 5]}, report number {i} says.",
            "evidence": [
                {"text": f"{SUBJECTS[i % 5]} {SAID[(i + k) % 6]}, according to paper {i + k}."} for k in range(2)
            ],
        }
        for i in range(count)
    ]


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def answers(output: Path) -> list[dict[str, Any]]:
    """The lines of an output, without how long each took and the name of the run's flags."""
    found = [json.loads(line) for line in output.read_bytes().splitlines()]
    for line in found:
        line.pop("run_digest", None)
        line.get("usage", {}).pop("seconds", None)
    return found


@dataclass(frozen=True)
class Obedient:
    """Opens a checker that dies, fails or answers as the claims' first words say. `folder` remembers who has died."""

    folder: Path
    at_start: str = ""

    def __call__(self) -> Obedient:
        if self.at_start == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.at_start == "miss":
            raise ModelMissing("run `weighup models pull minilm`")
        return self

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        texts = [item if isinstance(item, str) else item.text for item in items]
        for text in texts:
            if text.startswith("Deadly"):
                os.kill(os.getpid(), signal.SIGKILL)
            if text.startswith("Once"):
                mark = self.folder / text.replace(" ", "-")
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            if text.startswith("Raise"):
                raise ValueError("a row that breaks the engine")
            if text.startswith("Refuse"):
                raise InvalidInput("claim: cannot be used")
            if text.startswith("Warn"):
                logging.getLogger("weighup.somewhere").warning("seen by a worker: %s", text)
        return [plain_verdict(text) for text in texts]


def plain_verdict(text: str) -> Verdict:
    return Verdict(
        claim=text,
        verdict="unknown",
        probability_fake=0.5,
        interval=(0.0, 1.0),
        expert=None,
        why="nothing was looked at",
        perspectives={},
        evidence=[],
        usage=UsageView(),
        model_versions={"process": "any"},
    )
