"""What must hold of EASE when evidence is scarce, computed for one set and told either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from weighup.train.results import Cell, Held, HeldAt
from weighup.train.scoring import SINGLE, Answers, Floats, Scorer, best_single, coverage_of, macro_f1_of, selection

POINT = 0.01
SCARCE = 0.25
AHEAD = 0.1
CALIBRATED, CALIBRATED_APART = 0.05, 0.1
"""Highest expected calibration error on sets that were fitted on, and on a set left out."""
OVER = 0.015
"""How far the risk among the called may lie above the one asked for."""


def calibrated(name: str, cell: Cell, *, apart: bool) -> Held:
    """Whether probabilities mean what they say. `apart`: on a set that nothing was fitted on."""
    bar = CALIBRATED_APART if apart else CALIBRATED
    error = cell.systems["ease"].ece.value or 0.0
    return Held(
        set=name,
        demand=f"expected calibration error at most {bar:g}, all q and r together",
        holds=error <= bar,
        at=[HeldAt(q=None, ease=error, other=bar, who="the most that may be")],
    )


def kept_risk(name: str, cell: Cell, asked: float) -> Held:
    """Whether no more of what is called is wrong than was asked for. A claim labelled unknown that is called is wrong;
    where nothing is called, nothing is."""
    risk, most = cell.ease.risk_among_called, asked + OVER
    who = "the most that may be" if risk is not None else "the most that may be (nothing is called)"
    return Held(
        set=name,
        demand=f"risk among called at most {asked:g} + 1.5 points, all q and r together",
        holds=risk is None or risk <= most,
        at=[HeldAt(q=None, ease=risk or 0.0, other=most, who=who)],
    )


def must_hold(
    name: str,
    scorer: Scorer,
    systems: Mapping[float, Mapping[str, Floats]],
    answers: Mapping[float, Sequence[Answers]],
    labels: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> list[Held]:
    """Five demands.

    `systems`: for each q, every system's P(fake) [n, k] on the claims labelled real or fake, r and seeds side by side,
    as many for each q; `answers`: for each q, the same on all claims, whose `labels` [n_all] are 0, 1 or 2.
    A demand whose q were not measured does not appear.
    """
    fake, qs = scorer.fake, sorted(systems, reverse=True)
    at = {q: {way: macro_f1_of(fake, p) for way, p in systems[q].items()} for q in qs}
    every = {way: np.concatenate([systems[q][way] for q in qs], axis=1) for way in systems[qs[0]]}
    shares = {way: float(np.mean([at[q][way] for q in qs])) for way in every}
    best = max(SINGLE, key=lambda way: shares[way])
    found = [
        Held(
            set=name,
            demand="EASE at least the best single expert, on the average over q (macro-F1)",
            holds=shares["ease"] >= shares[best],
            at=[
                HeldAt(
                    q=None,
                    ease=shares["ease"],
                    other=shares[best],
                    who=best,
                    gain=scorer.gain(every["ease"], every[best]),
                )
            ],
        )
    ]
    rows = []
    for q in qs:
        who = best_single(fake, systems[q])
        gain = scorer.gain(systems[q]["ease"], systems[q][who])
        rows.append(HeldAt(q=q, ease=at[q]["ease"], other=at[q][who], who=who, gain=gain))
    found.append(
        Held(
            set=name,
            demand="EASE within 1 point of the best single expert at every q (macro-F1)",
            holds=all(row.ease >= row.other - POINT for row in rows),
            at=rows,
        )
    )
    if 0.0 in systems:
        gain = scorer.gain(systems[0.0]["ease"], systems[0.0]["content"])
        row = HeldAt(q=0.0, ease=at[0.0]["ease"], other=at[0.0]["content"], who="content", gain=gain)
        found.append(
            Held(
                set=name,
                demand="EASE not worse than content only at q = 0 (macro-F1)",
                holds=row.ease >= row.other,
                at=[row],
            )
        )
    rows = [
        HeldAt(
            q=q,
            ease=coverage_of(fake, systems[q]["ease"]),
            other=coverage_of(fake, systems[q]["content"]),
            who="content",
            gain=scorer.gain(systems[q]["ease"], systems[q]["content"], "coverage"),
        )
        for q in qs
    ]
    found.append(
        Held(
            set=name,
            demand="coverage at 10 % risk higher than content only at every q",
            holds=all(row.ease > row.other for row in rows),
            at=rows,
        )
    )
    rows = []
    for q in (q for q in qs if q <= SCARCE):
        ours, evidence = selection(answers[q], labels)
        if ours is not None and evidence is not None:
            rows.append(HeldAt(q=q, ease=ours, other=evidence, who="evidence", gain=None))
    if rows:
        found.append(
            Held(
                set=name,
                demand="selection right at least 10 points more often than evidence always at q ≤ 0.25, where any "
                "expert is right",
                holds=all(row.ease >= row.other + AHEAD - 1e-9 for row in rows),
                at=rows,
            )
        )
    return found
