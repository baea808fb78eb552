"""Who decides best when evidence is scarce? The pipeline in use, measured on labelled rows against simpler ways.

All systems see the same claims, and what EASE says is what `weighup check` says: both take `decision.judge`. Rows that
are not checkable are left out for all systems alike. Memory is bounded by the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from weighup import __version__
from weighup.console import Advance
from weighup.errors import InvalidInput
from weighup.retrieve.types import Evidence
from weighup.settings import Settings
from weighup.train.gate import Gate, fit_gate
from weighup.train.holds import must_hold
from weighup.train.labelled import Labelled
from weighup.train.measured import MeasuredSet
from weighup.train.protocol import (
    QS,
    RS,
    RememberedEncoder,
    RememberedStances,
    Variant,
    periods,
    strangers,
    thinned,
    variants,
)
from weighup.train.results import Cell, Evaluation, GateInfo, Held, Protocol, SetInfo
from weighup.train.scoring import Answers, Resampling, Scorer, columns, ease_numbers, reliability
from weighup.verify.decision import Judged
from weighup.verify.stance import StanceModel
from weighup.verify.verifier import Verifier

BATCH = 64
_AS_GIVEN = Variant(1.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure. `qs` and `rs` are used by the protocol `scarcity` only; `resamples` draw each interval."""

    protocol: Protocol = "plain"
    seeds: tuple[int, ...] = (0, 1, 2)
    qs: tuple[float, ...] = QS
    rs: tuple[float, ...] = RS
    resamples: int = 200
    limit: int | None = None
    written: bool = False

    @property
    def variants(self) -> list[Variant]:
        """Every way the evidence is thinned; one where it is taken as given."""
        return variants(self.qs, self.rs, self.seeds) if self.protocol == "scarcity" else [_AS_GIVEN]


@dataclass(slots=True)
class _Answered:
    """A set's checkable rows and what was said of them, by settled variant."""

    rows: list[Labelled]
    answers: dict[Variant, Answers]
    skipped: int
    labels: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = np.asarray([row.label for row in self.rows], np.int64)

    @property
    def known(self) -> NDArray[np.bool_]:
        return self.labels < 2

    @property
    def fake(self) -> NDArray[np.int64]:
        return self.labels[self.known]


@contextmanager
def measuring(settings: Settings, *, written: bool = False) -> Iterator[Verifier]:
    """The pipeline in use, with nothing searched, reading each text and each pair once."""
    from weighup.models.open import encoder

    stances = StanceModel.load(settings.verify.weights, threads=settings.models.threads or None)
    with Verifier(
        settings,
        offline=not written or settings.models.is_local,
        search=False,
        brief=not written,
        encoder=RememberedEncoder(encoder(settings)),
        stances=RememberedStances(stances),
    ) as verifier:
        yield verifier


def require_measurable(sets: Sequence[MeasuredSet], plan: Plan) -> None:
    """Raise InvalidInput where the protocol asks for what the rows do not have: evidence, or dates."""
    if plan.resamples < 1:
        raise InvalidInput("--resamples: at least 1 is needed")
    _ = plan.variants  # refuses shares outside [0, 1]
    for made in sets:
        if plan.protocol == "scarcity" and not any(row.claim.evidence for row in made.rows):
            raise InvalidInput(
                f"{made.name}: no row has evidence, so none can be made scarce; leave it out, or use --protocol plain"
            )
        undated = sum(row.claim.date is None for row in made.rows)
        if plan.protocol == "time" and undated:
            raise InvalidInput(
                f"{made.name}: {undated:,} of {len(made.rows):,} rows have no `date`, which --protocol time needs"
            )


def work(sets: Sequence[MeasuredSet], plan: Plan) -> int:
    """How many claims are judged in all."""
    every = len({v.settled for v in plan.variants})
    once = len({v.settled for v in plan.variants if v.seed == plan.variants[0].seed})
    return sum(len(made.rows) * every + len(made.valid) * once for made in sets)


def evaluate(
    verifier: Verifier, sets: Sequence[MeasuredSet], plan: Plan, *, advance: Advance | None = None
) -> Evaluation:
    """Measure every system on every set. Raises InvalidInput as `require_measurable`."""
    require_measurable(sets, plan)
    gate, told = _gate(verifier, sets, plan, advance)
    infos, cells, holds = [], [], []
    for made in sets:
        answered = _answer(verifier, made.name, made.rows, plan.variants, advance)
        _require_both(made, answered)
        infos.append(_info(made, answered))
        more, held = _measured(made.name, answered, plan, gate)
        cells += more
        holds += held
    return Evaluation(
        weighup=__version__,
        made=date.today().isoformat(),
        protocol=plan.protocol,
        seeds=list(plan.seeds) if plan.protocol == "scarcity" else [0],
        q=list(plan.qs) if plan.protocol == "scarcity" else [],
        r=list(plan.rs) if plan.protocol == "scarcity" else [],
        resamples=plan.resamples,
        limit=plan.limit,
        written=plan.written,
        models=verifier.versions(),
        sets=infos,
        gate=told,
        cells=cells,
        holds=holds,
        notes=[note for made in sets for note in made.notes],
    )


def _answer(
    verifier: Verifier,
    name: str,
    rows: Sequence[Labelled],
    wanted: Sequence[Variant],
    advance: Advance | None,
) -> _Answered:
    others: Sequence[tuple[Evidence, ...]] = strangers(rows) if any(v.r and v.q for v in wanted) else [()] * len(rows)
    answers: dict[Variant, Answers] = {}
    checkable: list[bool] = [True] * len(rows)
    for variant in dict.fromkeys(v.settled for v in wanted):
        found: list[Judged | None] = []
        for start in range(0, len(rows), BATCH):
            batch = zip(rows[start : start + BATCH], others[start : start + BATCH], strict=True)
            claims = [thinned(row, own, variant) for row, own in batch]
            found += verifier.judge(claims)
            if advance is not None:
                advance(len(claims), note=name)
        checkable = [one is not None for one in found]
        answers[variant] = Answers.of([one for one in found if one is not None])
    kept = [row for row, fine in zip(rows, checkable, strict=True) if fine]
    return _Answered(kept, answers, len(rows) - len(kept))


def _gate(
    verifier: Verifier, sets: Sequence[MeasuredSet], plan: Plan, advance: Advance | None
) -> tuple[Gate | None, GateInfo]:
    """One gate for all sets, as there is one selection for all, fitted on their valid rows under the same protocol."""
    fitted = [made for made in sets if made.valid]
    if not fitted:
        return None, GateInfo(fitted=False, told="the learned gate was left out: no valid rows were given to fit it on")
    once = [v for v in plan.variants if v.seed == plan.variants[0].seed]
    parts: list[tuple[Answers, NDArray[np.int64]]] = []
    for made in fitted:
        answered = _answer(verifier, f"{made.name} (valid)", made.valid, once, advance)
        parts += [(answered.answers[v.settled].taken(answered.known), answered.fake) for v in once]
    fake = np.concatenate([truth for _, truth in parts])
    if len(set(fake.tolist())) < 2:
        return None, GateInfo(fitted=False, told="the learned gate was left out: the valid rows are of one class only")
    gate = fit_gate(np.concatenate([a.features for a, _ in parts]), np.concatenate([a.experts for a, _ in parts]), fake)
    names = ", ".join(made.name for made in fitted)
    rows = sum(len(made.valid) for made in fitted)
    return gate, GateInfo(fitted=True, told=f"the learned gate was fitted on the valid rows of {names}", rows=rows)


def _measured(name: str, answered: _Answered, plan: Plan, gate: Gate | None) -> tuple[list[Cell], list[Held]]:
    everything = np.ones(len(answered.rows), np.bool_)
    scorer = _scorer(answered, everything, plan)
    cells = [_cell(name, answered, everything, scorer, gate, plan.variants)]
    if plan.protocol == "time":
        for period, where in periods([row.claim.date for row in answered.rows]):
            if (answered.known & where).any():
                own = _scorer(answered, where, plan)
                cells.append(_cell(name, answered, where, own, gate, plan.variants, period=period))
    if plan.protocol != "scarcity":
        return cells, []
    for q, r in dict.fromkeys((v.q, v.r) for v in plan.variants):
        mine = [v for v in plan.variants if (v.q, v.r) == (q, r)]
        cells.append(_cell(name, answered, everything, scorer, gate, mine, q=q, r=r))
    answers = {q: [answered.answers[v.settled] for v in plan.variants if v.q == q] for q in dict.fromkeys(plan.qs)}
    systems = {q: columns([a.taken(answered.known) for a in mine], answered.fake, gate) for q, mine in answers.items()}
    return cells, must_hold(name, scorer, systems, answers, answered.labels)


def _cell(
    name: str,
    answered: _Answered,
    where: NDArray[np.bool_],
    scorer: Scorer,
    gate: Gate | None,
    mine: Sequence[Variant],
    *,
    q: float | None = None,
    r: float | None = None,
    period: str | None = None,
) -> Cell:
    answers = [answered.answers[v.settled] for v in mine]
    p = columns([a.taken(answered.known & where) for a in answers], scorer.fake, gate)
    return Cell(
        set=name,
        q=q,
        r=r,
        period=period,
        n=len(scorer.fake),
        systems={way: scorer.scores(found) for way, found in p.items()},
        gains={way: scorer.gain(p["ease"], found) for way, found in p.items() if way != "ease"},
        ease=ease_numbers([a.taken(where) for a in answers], answered.labels[where]),
        reliability=reliability(scorer.fake, p["ease"]),
    )


def _scorer(answered: _Answered, where: NDArray[np.bool_], plan: Plan) -> Scorer:
    known = answered.known & where
    names = [row.group for row, mine in zip(answered.rows, known, strict=True) if mine]
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = np.asarray([place[name] for name in names], np.int64)
    return Scorer(answered.labels[known], Resampling(groups, plan.resamples))


def _require_both(made: MeasuredSet, answered: _Answered) -> None:
    if len(set(answered.fake.tolist())) < 2:
        raise InvalidInput(
            f"{made.name}: of {len(answered.rows):,} checkable rows none is "
            f"{'fake' if 0 in answered.fake else 'real'}; both are needed; give more rows"
        )


def _info(made: MeasuredSet, answered: _Answered) -> SetInfo:
    labels = answered.labels
    return SetInfo(
        name=made.name,
        split=made.split,
        rows=len(made.rows),
        real=int((labels == 0).sum()),
        fake=int((labels == 1).sum()),
        unknown=int((labels == 2).sum()),
        not_checkable=answered.skipped,
        without_evidence=sum(not row.claim.evidence for row in answered.rows),
        groups=len({row.group for row in answered.rows}),
        valid=len(made.valid),
        leaks_dropped=made.dropped,
    )
