"""What would change a verdict, as far as the rules say: said from what was recorded, nothing is guessed.

The rules are those of EASE (`verify.ease`): evidence decides if it may be relied on, else reasoning, else sentiment;
real or fake is said only from the confidence on that keeps the risk.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weighup.errors import WeighupError
from weighup.serve.db.records import StoredVerdict
from weighup.verify.contract import EvidenceView, ExpertName, Verdict
from weighup.verify.ease import Ease
from weighup.verify.report.phrases import OPINIONS, percent, span

ORDER: tuple[ExpertName, ...] = ("evidence", "reasoning", "sentiment")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would move the verdict."""

    what: str
    how: str


def floor_of(verdict: Verdict, folder: Path | None) -> float | None:
    """Least confidence at which the verdict's expert says real or fake; inf: none is known that keeps the risk.

    None if the heads at hand are not those that the verdict was made with.
    """
    if verdict.expert is None:
        return None
    try:
        ease = Ease.load(folder, verdict.risk)
    except WeighupError:
        return None
    return ease.threshold[verdict.expert] if verdict.model_versions.get("ease") == ease.version else None


def changes(stored: StoredVerdict, floor: float | None) -> list[Change]:
    """What would change this verdict, the nearest first."""
    verdict = stored.verdict
    if verdict.verdict == "not_checkable" or verdict.expert is None:
        said = "It holds no claim that could be checked. Put it as a statement of fact: who, what, where, when."
        return [Change("Other words", said)]
    found = []
    if floor is not None:
        found.append(_line(verdict, floor))
    found += [*_order(verdict), *_balance(verdict), _time(stored)]
    return found


def _line(verdict: Verdict, floor: float) -> Change:
    """How far it is to the next label."""
    p, (low, high) = verdict.probability_fake, verdict.interval
    kept = "" if verdict.risk is None else f" at a risk of {percent(verdict.risk)}"
    if math.isinf(floor):
        said = f"No confidence is known that keeps a risk of {percent(verdict.risk or 0)}: a higher risk would."
        return Change("The line", said)
    if verdict.verdict == "unknown":
        said = (
            f"It is called fake{kept} from {percent(floor)} fake on, and real below {percent(1 - floor)}. "
            f"It stands at {percent(p)}."
        )
        return Change("The line", said)
    if verdict.verdict == "fake":
        said = f"Below {percent(floor)} fake it is too early to say{kept}. It stands at {percent(p)}"
        crosses = low < floor
    else:
        said = f"Above {percent(1 - floor)} fake it is too early to say{kept}. It stands at {percent(p)}"
        crosses = high > 1 - floor
    across = "reaches across that line" if crosses else "stays on this side of that line"
    return Change("The line", f"{said}, and its 90 % interval ({span(verdict.interval)}) {across}.")


def _order(verdict: Verdict) -> list[Change]:
    """Who would decide instead."""
    assert verdict.expert is not None
    views = verdict.perspectives
    found = []
    for kind in ORDER[: ORDER.index(verdict.expert)]:
        view = views.get(kind)
        if view is None or not view.available:
            found.append(Change(f"Reliable {kind}", f"There was none. Once there is, {kind} decides instead."))
        else:
            said = (
                f"It is judged {percent(view.assessment.probability)} reliable, which is not enough. Once it is, "
                f"{kind} decides instead; its own opinion now is “{OPINIONS[view.verdict]}”."
            )
            found.append(Change(f"More reliable {kind}", said))
    following = [
        kind
        for kind in ORDER[ORDER.index(verdict.expert) + 1 :]
        if kind in views and views[kind].available and (views[kind].assessment.reliable or kind == ORDER[-1])
    ]
    if following:
        view = views[following[0]]
        said = (
            f"Then {following[0]} would decide. Its own opinion is “{OPINIONS[view.verdict]}” "
            f"({percent(view.probability_fake)} fake)."
        )
        found.append(Change(f"If {verdict.expert} turned out unreliable", said))
    return found


def _balance(verdict: Verdict) -> list[Change]:
    """Which way new passages would pull, and on how few sources it rests."""
    evidence = verdict.evidence
    if not evidence:
        return []
    sides: Mapping[str, list[EvidenceView]] = {
        side: [one for one in evidence if one.stance == side] for side in ("supports", "refutes")
    }
    counts = {side: len(ones) for side, ones in sides.items()}
    total = f"{counts['supports']} of {len(evidence)} passages support it, {counts['refutes']} refute it"
    heavier, lighter = ("supports", "refutes") if counts["supports"] >= counts["refutes"] else ("refutes", "supports")
    found = []
    if counts["supports"] == counts["refutes"]:
        said = f"{total}. A further independent source on either side would tip the balance."
        found.append(Change("A further source", said))
    else:
        said = f"{total}. A credible, independent source that {lighter} it would pull back."
        found.append(Change("The other side", said))
        places = _places(sides[heavier])
        if len(places) == 1:
            said = (
                f"All that {'support' if heavier == 'supports' else 'refute'} it come from {next(iter(places))}. "
                "Were that withdrawn or wrong, nothing would be left on this side."
            )
            found.append(Change("That one source", said))
    return found


def _places(evidence: Sequence[EvidenceView]) -> Counter[str]:
    return Counter(one.source or one.url or one.title or "one source without a name" for one in evidence)


def _time(stored: StoredVerdict) -> Change:
    """What was left out because of its date, and when it is looked at again."""
    bound = (
        f"Only what was published before {stored.claim_date:%Y-%m-%d} counts. "
        if stored.claim_date is not None
        else "The claim has no date, so all that was known when it was checked counts. "
    )
    if stored.settled or stored.next_check is None:
        said = "It is settled: it is not checked again by itself, only when somebody asks."
    else:
        due = f"{stored.next_check:%Y-%m-%d %H:%M} UTC"
        said = f"It is checked again by {due}, and sooner if matching evidence arrives."
    return Change("Time", bound + said)
