"""Recorded judges alone, in both orders, in panels and when they may abstain, on five sets: accuracy, κ, conflicts.

    python benchmarks/judges.py [--data ../shared/data] [--out docs/results/judges.json] [--seeds 5]

Judges: one row each, on the pairs it was asked. "both" is the vote of the two orders, "80 %" that vote on the 80 % of
pairs where it is surest (score gap, else agreement of orders or prompts). Panels: a random half of the questions is the
exam, all of a panel's columns are measured on the other half, averaged over the seeds. Weights are the log-odds of exam
accuracy, 0 for 0.5 or less. "Holds" is said of a panel where no seed's interval of its gain over the member that is
best on the measured half lies all below 0. A tie or a conflict counts half where people named a winner, and is a label
of its own in sets where people could tie; an unusable verdict is wrong. Intervals: 95 % bootstrap over questions, 1,000
draws.

With one sample an order, "both" is by algebra the mean of the two orders; what it tells beside "one" is the other
order. FairEval's own pairs have no recorded judge; the 47 of them in LLMBar stand in. CoBBLEr has scores, not verdicts:
its pairs are every two systems, and gold is their mean rank by six people.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.exam import weights
from weighup.judge.pre import score_tables, weighted
from weighup.judge.selective import most_doubtful
from weighup.judge.sets import JudgingSet, load
from weighup.judge.types import Item
from weighup.metrics.agreement import cohen_kappa
from weighup.metrics.estimate import Estimate, estimated
from weighup.metrics.intervals import paired_bootstrap

ROOT = Path(__file__).parents[1]
SIDE = {"1": 1.0, "tie": 0.0, "2": -1.0}
UNUSABLE = 9  # a label of its own in κ
COVERAGE = 0.8
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """What one judge said: `orders` [orders, pairs] of 1, 0, -1, NaN where unusable; `asked` [pairs] whether it was;
    `sure` [pairs], None where nothing tells how sure it is."""

    orders: Floats
    asked: NDArray[np.bool_]
    sure: Floats | None

    @property
    def both(self) -> Floats:
        return weighted(self.orders, np.ones(len(self.orders)))

    def at(self, places: NDArray[Any]) -> Said:
        return Said(self.orders[:, places], self.asked[places], None if self.sure is None else self.sure[places])


@dataclass(frozen=True)
class Table:
    """Pairs with gold [pairs] of 1, 0, -1, the question each is of, and what each judge said of all of them."""

    name: str
    gold: Floats
    question: NDArray[np.str_]
    judges: dict[str, Said]

    @property
    def ties(self) -> bool:
        return self.name.startswith("pandalm")

    def at(self, places: NDArray[Any]) -> Table:
        judges = {name: said.at(places) for name, said in self.judges.items()}
        return Table(self.name, self.gold[places], self.question[places], judges)

    def right(self, side: Floats) -> Floats:
        """Credit of verdicts by their sign [pairs], 0 for NaN."""
        sign = np.sign(np.where(np.abs(side) < 1e-9, 0.0, side))
        half = 0.0 if self.ties else 0.5
        return np.where(np.isnan(sign), 0.0, np.where(sign == self.gold, 1.0, half * ((sign == 0) & (self.gold != 0))))


def said_of(read: JudgingSet, names: Sequence[str], items: Sequence[Item]) -> Said:
    """A judge's verdicts on `items`, over all of `names` (its prompts) where there are several: the mean by order."""
    place = {item.id: column for column, item in enumerate(items)}
    orders = read.orders(names[0])
    votes = np.full((len(names), len(orders), len(items)), np.nan)
    gaps = np.full((len(names), len(items)), np.nan)
    asked = np.zeros(len(items), bool)
    for row, name in enumerate(names):
        for one in read.recorded[name]:
            column = place.get(one.item_id)
            if column is None:
                continue
            asked[column] = True
            if one.usable and one.winner is not None:
                votes[row, orders.index(one.order), column] = SIDE[one.winner]
                if one.scores is not None and None not in one.scores:
                    gaps[row, column] = abs(float(one.scores[0] or 0) - float(one.scores[1] or 0))
    joint = weighted(votes, np.ones(len(names)))
    if len(names) == 1 and not np.isnan(gaps).all():
        return Said(joint, asked, np.nan_to_num(gaps[0], nan=-1.0))
    several = len(names) > 1 or len(orders) > 1
    sure = np.abs(weighted(joint, np.ones(len(orders))))
    return Said(joint, asked, np.nan_to_num(sure, nan=-1.0) if several else None)


def table_of(title: str, read: JudgingSet, items: Sequence[Item], judges: dict[str, Sequence[str]]) -> Table:
    known = [item for item in items if item.id in read.gold]
    gold = np.array([SIDE[read.gold[item.id]] for item in known])
    question = np.array([item.prompt for item in known])
    return Table(title, gold, question, {name: said_of(read, some, known) for name, some in judges.items()})


def cobbler(read: JudgingSet) -> Table:
    """Every two systems of an instruction as a pair."""
    systems = tuple(one.system for one in read.items[0].responses)
    scores = score_tables([read.judge(name) for name in read.names], read.items, systems)
    human = -np.array([np.mean(read.places[item.id], axis=0) for item in read.items])
    first, second = np.triu_indices(len(systems), 1)
    gap = (scores[..., first] - scores[..., second]).reshape(len(read.names), -1)
    gold = np.sign(human[:, first] - human[:, second]).ravel()
    question = np.repeat([item.id for item in read.items], len(first))
    there = np.ones(len(gold), bool)
    judges = {
        name: Said(np.sign(one)[None], there, np.nan_to_num(np.abs(one), nan=-1.0))
        for name, one in zip(read.names, gap, strict=True)
    }
    return Table("cobbler", gold, question, judges)


def kappa(gold: Floats, side: Floats) -> float:
    label = np.where(np.isnan(side), UNUSABLE, np.sign(np.where(np.abs(side) < 1e-9, 0.0, side)))
    return cohen_kappa(gold.astype(int).tolist(), label.astype(int).tolist())


def told(found: Estimate) -> dict[str, float | int | None]:
    return {k: None if isinstance(v, float) and math.isnan(v) else round(v, 4) for k, v in asdict(found).items()}


def selective(table: Table, side: Floats, sure: Floats) -> Estimate:
    drop = most_doubtful(-sure, 1 - COVERAGE, seed=0)
    keep = np.setdiff1d(np.arange(len(sure)), drop)
    return estimated(np.mean, table.right(side)[keep], seed=0, groups=table.question[keep])


def alone(table: Table, said: Said) -> dict[str, Any]:
    """One judge's row, on the pairs it was asked."""
    asked = np.flatnonzero(said.asked)
    table, said = table.at(asked), said.at(asked)
    groups, first, both = table.question, said.orders[0], said.both
    row: dict[str, Any] = {
        "one": told(estimated(np.mean, table.right(first), seed=0, groups=groups)),
        "one_kappa": told(estimated(kappa, table.gold, first, seed=0, groups=groups)),
        "usable": round(float(np.mean(~np.isnan(said.orders))), 4),
    }
    if len(said.orders) > 1:
        known = ~np.isnan(said.orders).any(0)
        differ = (np.sign(said.orders[0]) != np.sign(said.orders[1]))[known]
        row |= {
            "both": told(estimated(np.mean, table.right(both), seed=0, groups=groups)),
            "both_kappa": told(estimated(kappa, table.gold, both, seed=0, groups=groups)),
            "conflict": told(estimated(np.mean, differ.astype(float), seed=0, groups=groups[known])),
            "both_gain": [
                round(one, 4)
                for one in paired_bootstrap(np.mean, (table.right(both),), (table.right(first),), seed=0, groups=groups)
            ],
        }
    if said.sure is not None:
        row["at_80"] = told(selective(table, both, said.sure))
    return row


def in_panel(table: Table, members: Sequence[str], seeds: int) -> dict[str, Any]:
    """A panel's row, on the pairs that all members were asked."""
    table = table.at(np.flatnonzero(np.all([table.judges[name].asked for name in members], axis=0)))
    votes = np.stack([table.judges[name].both for name in members])
    questions = np.unique(table.question)
    runs = []
    for seed in range(seeds):
        half = np.random.default_rng(seed).permutation(questions)[: len(questions) // 2]
        sits = np.isin(table.question, half)
        rest = table.at(np.flatnonzero(~sits))
        exam = table.at(np.flatnonzero(sits))
        marks = {name: float(exam.right(one[sits]).mean()) for name, one in zip(members, votes, strict=True)}
        ours = np.array(list(weights(marks, "log").values()))
        equal, weighed = (weighted(votes[:, ~sits], w) for w in (np.ones(len(members)), ours))
        single = {name: rest.right(one[~sits]) for name, one in zip(members, votes, strict=True)}
        best = max(members, key=lambda name: single[name].mean())
        chosen = max(members, key=lambda name: marks[name])
        groups, right = rest.question, rest.right(weighed)
        there = ~np.isnan(votes[:, ~sits])
        agree = np.abs((ours[:, None] * np.where(there, votes[:, ~sits], 0.0)).sum(0))
        runs.append(
            {
                "equal": estimated(np.mean, rest.right(equal), seed=seed, groups=groups),
                "equal_kappa": estimated(kappa, rest.gold, equal, seed=seed, groups=groups),
                "exam": estimated(np.mean, right, seed=seed, groups=groups),
                "exam_kappa": estimated(kappa, rest.gold, weighed, seed=seed, groups=groups),
                "exam_at_80": selective(rest, weighed, agree),
                "best": estimated(np.mean, single[best], seed=seed, groups=groups),
                "best_in_exam": estimated(np.mean, single[chosen], seed=seed, groups=groups),
                "exam_over_best": gain(right, single[best], seed, groups),
                "exam_over_best_in_exam": gain(right, single[chosen], seed, groups),
                "exam_over_equal": gain(right, rest.right(equal), seed, groups),
                "equal_over_best": gain(rest.right(equal), single[best], seed, groups),
            }
        )
    row: dict[str, Any] = {key: told(averaged([run[key] for run in runs])) for key in runs[0]}
    over = [run["exam_over_best"] for run in runs]
    row["members"], row["seeds"] = list(members), seeds
    row["seeds_not_below_best"] = sum(one.high >= 0 for one in over)
    row["not_below_best"] = row["seeds_not_below_best"] == seeds
    return row


def gain(ours: Floats, theirs: Floats, seed: int, groups: NDArray[np.str_]) -> Estimate:
    low, high = paired_bootstrap(np.mean, (ours,), (theirs,), seed=seed, groups=groups)
    return Estimate(float(ours.mean() - theirs.mean()), low, high, len(ours))


def averaged(found: Sequence[Estimate]) -> Estimate:
    """Over seeds: mean value, and the mean interval of one seed."""
    value, low, high = (float(np.mean([getattr(one, key) for one in found])) for key in ("value", "low", "high"))
    return Estimate(value, low, high, round(np.mean([one.n for one in found])))


def tables(data: Path) -> tuple[list[tuple[Table, dict[str, list[str]]]], list[str]]:
    """Each table with its panels, and what cannot be measured."""
    found: list[tuple[Table, dict[str, list[str]]]] = []
    bar = load("llmbar_recorded", data)
    plain = [name for name in bar.names if name.endswith("/Vanilla_NoRules")]
    whole = [name for name in plain if len(bar.asked(name)) > 600]
    hard = [item for item in bar.items if not (item.category or "").startswith("Processed")]
    players = sorted({name.partition("/")[0] for name in bar.names})
    every: dict[str, Sequence[str]] = {name: [name] for name in bar.names}
    every |= {f"{one}/all prompts": bar.protocols(one) for one in players}
    panels = {
        "six judges, CoT": [f"{one}/CoT" for one in players],
        "six judges, all prompts": [f"{one}/all prompts" for one in players],
    }
    found.append((table_of("llmbar, natural and adversarial", bar, hard, every), panels))
    for title, part in (("llmbar, all", ""), ("faireval pairs in llmbar", "Processed/FairEval")):
        items = [item for item in bar.items if (item.category or "").startswith(part)]
        found.append((table_of(title, bar, items, {name: [name] for name in whole}), {"four judges": whole}))
    panda = load("pandalm", data)
    both = list(panda.names)
    found.append((table_of("pandalm", panda, panda.items, {name: [name] for name in both}), {"both judges": both}))
    bench = load("judgebench", data)
    haiku = [name for name in bench.names if "haiku" in name]
    others = [name for name in bench.names if name not in haiku]
    for title, names in (("judgebench, gpt-4o pairs", others), ("judgebench, claude pairs", haiku)):
        table = table_of(title, bench, bench.asked(*names), {name: [name] for name in names})
        found.append((table, {"o1-mini and five reward models": names} if len(names) > 1 else {}))
    read = load("cobbler", data)
    usable = [name for name in read.names if sum(one.usable for one in read.recorded[name]) >= len(read.items) / 2]
    found.append((cobbler(read), {"14 systems": usable}))
    faireval = load("faireval", data)
    return found, [f"faireval: {len(faireval.items)} pairs with people's labels, no judge is recorded"]


def shown(one: dict[str, Any] | None) -> str:
    if one is None:
        return f"{'–':>19}"
    low, high = one["low"], one["high"]
    return f"{one['value']:6.3f} " + (f"{low:5.3f}–{high:5.3f} " if low is not None else f"{'–':>12}")


def printed(title: str, judges: dict[str, Any], panels: dict[str, Any]) -> None:
    print(f"\n{title}")
    heads = ("one order", "both orders", "κ both", "conflict", "80 % surest")
    print(f"{'judge':46}{'pairs':>6} " + "".join(f"{head:19}" for head in heads))
    for name, row in judges.items():
        kappas = row.get("both_kappa", row["one_kappa"])
        cells = (row["one"], row.get("both"), kappas, row.get("conflict"), row.get("at_80"))
        print(f"{name[-45:]:46}{row['one']['n']:6} " + "".join(map(shown, cells)))
    for name, row in panels.items():
        print(f"panel of {name}, half as exam: {row['exam']['n']} pairs measured")
        for label, key in (
            ("equal weights", "equal"), ("exam weights", "exam"), ("exam weights, 80 % surest", "exam_at_80"),
            ("best member", "best"), ("best member by the exam", "best_in_exam"), ("κ, equal weights", "equal_kappa"),
            ("κ, exam weights", "exam_kappa"),
        ):  # fmt: skip
            print(f"  {label:30}{shown(row[key])}")


def spread(one: dict[str, Any]) -> str:
    return f"{one['value']:+.3f}, {one['low']:+.3f} to {one['high']:+.3f}"


def verdicts(title: str, judges: dict[str, Any], panels: dict[str, Any]) -> list[str]:
    lines = []
    for name, row in panels.items():
        times = row["seeds_not_below_best"]
        whether = (
            "holds" if row["not_below_best"] else f"holds in {times} of {row['seeds']} seeds only" if times else "no"
        )
        lines.append(
            f"{title}, {name}: the exam-weighted panel is not below the best member beyond the interval: {whether} "
            f"({spread(row['exam_over_best'])})"
        )
        for key, what in (("equal", "a panel of equal weights"), ("exam", "an exam-weighted panel")):
            one = row[f"{key}_over_best"]
            if one["high"] < 0:
                lines.append(f"{title}, {name}: {what} hurts against the best member: {spread(one)}")
    for name, row in judges.items():
        if "both_gain" in row and row["both_gain"][1] < 0:
            low, high = row["both_gain"]
            lines.append(f"{title}, {name}: balancing hurts against the given order: {low:+.3f} to {high:+.3f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "judges.json")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    start = time.perf_counter()
    try:
        found, missing = tables(args.data)
    except InvalidInput as error:
        parser.error(str(error))
    results: dict[str, Any] = {}
    lines = list(missing)
    for table, members in found:
        judges = {name: alone(table, said) for name, said in table.judges.items()}
        panels = {name: in_panel(table, some, args.seeds) for name, some in members.items()}
        results[table.name] = {"pairs": len(table.gold), "judges": judges, "panels": panels}
        printed(table.name, judges, panels)
        lines += verdicts(table.name, judges, panels)
    print("\n" + "\n".join(lines))
    took = round(time.perf_counter() - start, 1)
    report = {"sets": results, "lines": lines, "seeds": args.seeds, "draws": 1000, "seconds": took}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
