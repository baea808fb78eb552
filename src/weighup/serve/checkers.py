"""Checkers for the ways in which one request may want to be checked otherwise than the others."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weighup.models.types import Encoder
    from weighup.retrieve.store import EvidenceStore
    from weighup.verify.batch import Checker
    from weighup.verify.verifier import Verifier

KEPT = 4
"""Checkers kept beside the first; each holds content and heads of its own, some megabytes."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to check; None: as the checker that is there. What it leaves out (`brief`, no search) stays left out."""

    brief: bool | None = None
    search: bool | None = None
    risk: float | None = None


class Checkers:
    """Makes and keeps them. Thread-safe. A checker that is no Verifier knows one way only and serves for all."""

    def __init__(self, checker: Checker) -> None:
        self._first = checker
        self._lock = threading.Lock()
        self._others: OrderedDict[Way, Verifier] = OrderedDict()

    def get(self, way: Way) -> Checker:
        """Raises InvalidInput for a `risk` that the weights are not calibrated for."""
        from weighup.verify.verifier import Verifier

        base = self._first
        narrowed: Callable[[Way], Checker] | None = getattr(base, "narrowed", None)
        if narrowed is not None:  # one that is spread over processes has such a way itself
            return narrowed(way)
        if not isinstance(base, Verifier):
            return base
        brief = base.brief or bool(way.brief)
        search = base.search and way.search is not False
        risk = base.settings.verify.risk if way.risk is None else way.risk
        if (brief, search, risk) == (base.brief, base.search, base.settings.verify.risk):
            return base
        told = Way(brief, search, risk)
        with self._lock:
            if told not in self._others:
                self._others[told] = _other(base, told)
            self._others.move_to_end(told)
            while len(self._others) > KEPT:
                self._others.popitem(last=False)  # closed by nobody: a check may be using it, and it opened nothing
            return self._others[told]


def stores_of(checker: Checker) -> Sequence[EvidenceStore]:
    """The evidence stores that a checker looks in, if it does so in this process; so that nothing is opened twice."""
    from weighup.verify.verifier import Verifier

    return checker._stores if isinstance(checker, Verifier) else ()


def encoder_of(checker: Checker) -> Encoder | None:
    """What a checker reads claims with, if it does so in this process."""
    from weighup.verify.verifier import Verifier

    return checker._encoder if isinstance(checker, Verifier) else None


def _other(base: Verifier, way: Way) -> Verifier:
    """A verifier with the parts of `base` that are large or hold connections, so that it opens none itself."""
    from weighup.verify.verifier import Verifier

    verify = base.settings.verify.model_copy(update={"brief": way.brief, "risk": way.risk})
    return Verifier(
        base.settings.model_copy(update={"verify": verify}),
        offline=base.offline,
        search=bool(way.search),
        brief=way.brief,
        language_model=None if way.brief else base._language_model,
        encoder=base._encoder,
        stances=base._stance_model,
        stores=base._stores if way.search else (),
        sources=base._sources if way.search else (),
    )
