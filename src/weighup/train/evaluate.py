"""Who decides best when evidence is scarce? The pipeline in use, measured on labelled rows against simpler ways.

All systems see the same claims, and what EASE says is what `weighup check` says: both take `decision.judge`. Rows that
are not checkable are left out for all systems alike. With the protocol `transfer`, each set is judged by what was
fitted on the others. Memory is bounded by the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup import __version__
from weighup.console import Advance
from weighup.errors import InvalidInput
from weighup.settings import Settings
from weighup.train.ablations import require_known
from weighup.train.answering import Answered, answer
from weighup.train.gate import Gate, fit_gate
from weighup.train.holds import calibrated, kept_risk, must_hold
from weighup.train.measured import MeasuredSet
from weighup.train.protocol import (
    QS,
    RS,
    RememberedEncoder,
    RememberedStances,
    Variant,
    periods,
    variants,
)
from weighup.train.results import Cell, Evaluation, GateInfo, Held, Protocol, SetInfo
from weighup.train.scoring import Answers, Resampling, Scorer, columns, ease_numbers, reliability
from weighup.train.transfer import ANEW, Judging, Refit, fitting_rows, others, require_transferable
from weighup.verify.stance import StanceModel
from weighup.verify.verifier import Verifier

_AS_GIVEN = Variant(1.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure. `qs`, `rs` and `seeds` are used by the protocols `scarcity` and `transfer`; `resamples` draw each
    interval; `ablate` names further systems (`ablations.ABLATIONS`); `risk` is the one that what judges was asked for,
    held against the risk among the called."""

    protocol: Protocol = "plain"
    seeds: tuple[int, ...] = (0, 1, 2)
    qs: tuple[float, ...] = QS
    rs: tuple[float, ...] = RS
    resamples: int = 200
    limit: int | None = None
    written: bool = False
    ablate: tuple[str, ...] = ()
    risk: float | None = None

    @property
    def thins(self) -> bool:
        """Whether evidence is thinned out; else it is taken as given."""
        return self.protocol in ("scarcity", "transfer")

    @property
    def variants(self) -> list[Variant]:
        """Every way the evidence is thinned; one where it is taken as given."""
        return variants(self.qs, self.rs, self.seeds) if self.thins else [_AS_GIVEN]

    @property
    def once(self) -> list[Variant]:
        """Those of the first seed, on which the gate is fitted."""
        return [v for v in self.variants if v.seed == self.seeds[0]] if self.thins else [_AS_GIVEN]


@dataclass(frozen=True, slots=True)
class _Round:
    """A set, and what judges it."""

    made: MeasuredSet
    judging: Judging
    gate: Gate | None
    told: GateInfo
    fitted_on: int | None = None
    notes: tuple[str, ...] = ()


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
    if plan.risk is not None and not 0 < plan.risk < 1:
        raise InvalidInput(f"--risk {plan.risk}: a share between 0 and 1 is needed; write 0.1 for one wrong in ten")
    if plan.resamples < 1:
        raise InvalidInput("--resamples: at least 1 is needed")
    _ = plan.variants  # refuses shares outside [0, 1]
    require_known(plan.ablate)
    if plan.protocol == "transfer":
        require_transferable(sets)
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
    """How many claims are judged in all, those not counted that are judged to fit parts anew."""
    every = len({v.settled for v in plan.variants})
    once = len({v.settled for v in plan.once})
    apart = plan.protocol == "transfer"
    gates = [made.valid for left_out in sets for made in others(sets, left_out)[0]] if apart else []
    gates = gates or [made.valid for made in sets]
    return sum(len(made.rows) for made in sets) * every + sum(map(len, gates)) * once


def evaluate(
    verifier: Judging,
    sets: Sequence[MeasuredSet],
    plan: Plan,
    *,
    refit: Refit | None = None,
    advance: Advance | None = None,
) -> Evaluation:
    """Measure every system on every set. `refit` is needed with the protocol `transfer`. Raises InvalidInput as
    `require_measurable`."""
    require_measurable(sets, plan)
    models = verifier.versions()  # opens them, so that what a claim takes is not told with it
    infos, cells, holds, done = [], [], [], []
    for one in _rounds(verifier, sets, plan, refit, advance):
        answered = answer(one.judging, one.made.name, one.made.rows, plan.variants, advance)
        _require_both(one.made, answered)
        infos.append(_info(one, answered))
        more, held = _measured(one.made.name, answered, plan, one.gate)
        cells += more
        holds += held
        done.append(one)
        own = one.judging.versions()
        models = {name: version if own.get(name) == version else ANEW for name, version in models.items()}
    return Evaluation(
        weighup=__version__,
        made=date.today().isoformat(),
        protocol=plan.protocol,
        seeds=list(plan.seeds) if plan.thins else [0],
        q=list(plan.qs) if plan.thins else [],
        r=list(plan.rs) if plan.thins else [],
        resamples=plan.resamples,
        limit=plan.limit,
        written=plan.written,
        risk=plan.risk,
        models=models,
        sets=infos,
        gate=_told(done, plan),
        refitted=refit.told if refit is not None and plan.protocol == "transfer" else None,
        cells=cells,
        holds=holds,
        notes=[note for one in done for note in (*one.made.notes, *one.notes)],
    )


def _rounds(
    verifier: Judging, sets: Sequence[MeasuredSet], plan: Plan, refit: Refit | None, advance: Advance | None
) -> Iterator[_Round]:
    """Each set with what judges it: the same for all, or what was fitted on the others."""
    if plan.protocol != "transfer":
        gate, told = _gate(verifier, sets, plan, advance)
        for made in sets:
            yield _Round(made, verifier, gate, told)
        return
    if refit is None:
        raise InvalidInput("--protocol transfer: what is to be fitted anew was not given")
    for made in sets:
        rest, tied = others(sets, made)
        if advance is not None:
            advance(0, note=f"fitting without {made.name}")
        judging = refit.fit(rest)
        gate, told = _gate(judging, rest, plan, advance)
        note = f"{tied:,} rows of other sets are tied to a measured row of {made.name}; they were not fitted on"
        yield _Round(made, judging, gate, told, fitting_rows(rest), (note,) if tied else ())


def _told(rounds: Sequence[_Round], plan: Plan) -> GateInfo:
    told = [one.told for one in rounds]
    if plan.protocol != "transfer" or not all(one.fitted for one in told):
        return next((one for one in told if not one.fitted), told[0])
    return GateInfo(fitted=True, told="for each set the learned gate was fitted on the valid rows of the others")


def _gate(
    judging: Judging, sets: Sequence[MeasuredSet], plan: Plan, advance: Advance | None
) -> tuple[Gate | None, GateInfo]:
    """One gate for all sets, as there is one selection for all, fitted on their valid rows under the same protocol."""
    fitted = [made for made in sets if made.valid]
    if not fitted:
        return None, GateInfo(fitted=False, told="the learned gate was left out: no valid rows were given to fit it on")
    parts: list[tuple[Answers, NDArray[np.int64]]] = []
    for made in fitted:
        answered = answer(judging, f"{made.name} (valid)", made.valid, plan.once, advance)
        parts += [(answered.answers[v.settled].taken(answered.known), answered.fake) for v in plan.once]
    fake = np.concatenate([truth for _, truth in parts])
    if len(set(fake.tolist())) < 2:
        return None, GateInfo(fitted=False, told="the learned gate was left out: the valid rows are of one class only")
    gate = fit_gate(np.concatenate([a.features for a, _ in parts]), np.concatenate([a.experts for a, _ in parts]), fake)
    names = ", ".join(made.name for made in fitted)
    rows = sum(len(made.valid) for made in fitted)
    return gate, GateInfo(fitted=True, told=f"the learned gate was fitted on the valid rows of {names}", rows=rows)


def _measured(name: str, answered: Answered, plan: Plan, gate: Gate | None) -> tuple[list[Cell], list[Held]]:
    everything = np.ones(len(answered.rows), np.bool_)
    scorer = _scorer(answered, everything, plan)

    def cell(mine: Sequence[Variant], **condition: Any) -> Cell:
        return _cell(name, answered, everything, scorer, plan, gate, mine, **condition)

    cells = [cell(plan.variants)]
    if plan.protocol == "time":
        for period, where in periods([row.claim.date for row in answered.rows]):
            if (answered.known & where).any():
                own = _scorer(answered, where, plan)
                cells.append(_cell(name, answered, where, own, plan, gate, plan.variants, period=period))
    kept = [kept_risk(name, cells[0], plan.risk)] if plan.risk is not None else []
    if not plan.thins:
        return cells, kept
    for q in dict.fromkeys(plan.qs):
        mine = [v for v in plan.variants if v.q == q]
        swapped = dict.fromkeys(v.r for v in mine)
        cells += [cell(mine, q=q)] if len(swapped) > 1 else []
        cells += [cell([v for v in mine if v.r == r], q=q, r=r) for r in swapped]
    answers = {q: [answered.answers[v.settled] for v in plan.variants if v.q == q] for q in dict.fromkeys(plan.qs)}
    systems = {q: columns([a.taken(answered.known) for a in mine], answered.fake, gate) for q, mine in answers.items()}
    demands = [] if plan.protocol == "transfer" else must_hold(name, scorer, systems, answers, answered.labels)
    return cells, [*demands, calibrated(name, cells[0], apart=plan.protocol == "transfer"), *kept]


def _cell(
    name: str,
    answered: Answered,
    where: NDArray[np.bool_],
    scorer: Scorer,
    plan: Plan,
    gate: Gate | None,
    mine: Sequence[Variant],
    **condition: Any,
) -> Cell:
    """`condition`: the cell's q, r or period, if any."""
    answers = [answered.answers[v.settled] for v in mine]
    p = columns([a.taken(answered.known & where) for a in answers], scorer.fake, gate, plan.ablate)
    return Cell(
        set=name,
        **condition,
        n=len(scorer.fake),
        systems={way: scorer.scores(found) for way, found in p.items()},
        gains={way: scorer.gain(p["ease"], found) for way, found in p.items() if way != "ease"},
        ease=ease_numbers([a.taken(where) for a in answers], answered.labels[where]),
        reliability=reliability(scorer.fake, p["ease"]),
    )


def _scorer(answered: Answered, where: NDArray[np.bool_], plan: Plan) -> Scorer:
    known = answered.known & where
    names = [row.group for row, mine in zip(answered.rows, known, strict=True) if mine]
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = np.asarray([place[name] for name in names], np.int64)
    return Scorer(answered.labels[known], Resampling(groups, plan.resamples))


def _require_both(made: MeasuredSet, answered: Answered) -> None:
    if len(set(answered.fake.tolist())) < 2:
        raise InvalidInput(
            f"{made.name}: of {len(answered.rows):,} checkable rows none is "
            f"{'fake' if 0 in answered.fake else 'real'}; both are needed; give more rows"
        )


def _info(one: _Round, answered: Answered) -> SetInfo:
    made, labels = one.made, answered.labels
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
        fitted_on=one.fitted_on,
        cost=answered.cost,
    )
