"""What each part of EASE brings: its selection with one part taken away, and results of fits without one.

The first kind needs no refitting, since every expert is asked of every claim: only who decides is changed. The second
kind (no auxiliary loss, another λ, no justification in the knowledge text) is measured where the parts are fitted, and
kept as rows of a JSON file, for example

    {"rows": [{"what": "no auxiliary loss", "setting": "lambda=0", "set": "check_covid", "q": 1.0, "n": 123,
               "metrics": {"macro_f1": {"value": 0.701, "low": 0.62, "high": 0.78}}}]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from weighup.errors import InvalidInput
from weighup.train.results import Estimate, Published
from weighup.verify.types import KINDS

Places = NDArray[np.int64]
EVIDENCE, REASONING, SENTIMENT = (KINDS.index(kind) for kind in ("evidence", "reasoning", "sentiment"))


class Selected(Protocol):
    """What an ablation sees of n claims; each [n, 3] or [n], as `scoring.Answers` has them."""

    @property
    def experts(self) -> NDArray[np.float64]: ...
    @property
    def available(self) -> NDArray[np.bool_]: ...
    @property
    def chosen(self) -> Places: ...
    @property
    def chance(self) -> NDArray[np.float64]: ...


def no_evaluators(said: Selected) -> Places:
    """The order of selection without assessment: evidence if there is any, else reasoning, else sentiment."""
    return np.asarray(said.available.argmax(1), np.int64)


def no_sentiment_fallback(said: Selected) -> Places:
    """As EASE, but where neither evidence nor reasoning is reliable, reasoning decides if it could be had."""
    falls = (said.chosen == SENTIMENT) & said.available[:, REASONING]
    return np.where(falls, REASONING, said.chosen).astype(np.int64)


def random_selection(said: Selected) -> Places:
    """One of those that could be had, each as likely."""
    count = said.available.sum(1)
    wanted = np.minimum((said.chance * count).astype(np.int64), count - 1)
    return np.asarray((said.available.cumsum(1) > wanted[:, None]).argmax(1), np.int64)


def most_confident(said: Selected) -> Places:
    """Of those that could be had, the one whose P(fake) is farthest from one half; the first of equals."""
    sure = np.where(said.available, np.abs(said.experts - 0.5), -1.0)
    return np.asarray(sure.argmax(1), np.int64)


ABLATIONS: Mapping[str, Callable[[Selected], Places]] = {
    "no-evaluators": no_evaluators,
    "no-sentiment-fallback": no_sentiment_fallback,
    "random-selection": random_selection,
    "most-confident": most_confident,
}
"""Who decides, as places in KINDS [n]. Their names for people are in `results.SYSTEMS`."""


def require_known(names: Sequence[str]) -> None:
    """Raise InvalidInput for a name that is no ablation."""
    for name in names:
        if name not in ABLATIONS:
            raise InvalidInput(f"--ablate {name[:40]!r} is not known; ablations are {', '.join(ABLATIONS)}, or all")


class Ablation(Published):
    """One row: a fit without one part, measured on one set."""

    what: str = Field(description="what is left out or changed, for people; `EASE` is the whole", min_length=1)
    setting: str = Field("", description="how, for example lambda=0")
    set: str
    q: float | None = Field(None, ge=0, le=1, description="share of evidence kept; None: all together, or as given")
    n: int = Field(ge=1, description="claims measured")
    metrics: dict[str, Estimate] = Field(min_length=1, description="by name, as in `results.SystemScores`")


class Ablations(Published):
    """The file: rows in the order in which they are to be shown."""

    format: Literal[1] = 1
    made: str = ""
    command: str = Field("", description="what makes them anew")
    rows: list[Ablation]


def read_ablations(path: Path) -> Ablations:
    """Raises InvalidInput if the file is not of this form."""
    try:
        return Ablations.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInput(f"{path}: {where}: {first['msg']}") from None
