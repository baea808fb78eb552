"""Pictures and tables of docs/howto/judges.md and votes.md, from docs/results/judges.json and the recorded data.

    python benchmarks/judging_pictures.py [--data ../shared/data] [--draws 40] [--exams 1000]

Writes docs/images/judges-*.svg and votes-*.svg, docs/results/judging_pictures.json, and the tables of the two pages,
between `<!-- made: NAME -->` and `<!-- made: end -->`. Run `judges.py` before.

Votes: in CoBBLEr six people rank the answers of 15 systems to each of 40 instructions. A draw takes votes at random,
without replacement, from the rankings of a random half of the instructions; each is one pair, or one set of four, of
one ranking. The order that they give (Bradley-Terry, Plackett-Luce; ridge 1) is compared by Kendall's tau-b with the
order by all pairs of the other half. A recorded judge's vote on a pair is for the system to which it gave more wins;
it has one a pair and instruction, 2,100 in all, so that its lines end there.
Votes of one ranking hang together, so that new people's votes tell a little more than these. The rule for widths is
1.96 * (400 / ln 10) * sqrt(2 (m - 1)^2 / (m n)): m equals, n votes over all pairs alike.

Exams: pairs drawn at random, without replacement; the judge with the best score is picked, equal ones by chance.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judges import Said, Table, tables
from judging_lines import Line, lines
from numpy.typing import NDArray

from weighup.arena import Leaderboard, Matches, bradley_terry, plackett_luce
from weighup.judge.selective import coverage_curve
from weighup.judge.sets import JudgingSet, load
from weighup.metrics.forest import forest
from weighup.metrics.ranking import tau_b

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
VOTES = (50, 100, 200, 400, 800, 1600, 3200, 6400)
EXAMS = (10, 20, 50, 100, 200)
SCALE = 400 / math.log(10)
HARD, BENCH, FAIR = "llmbar, natural and adversarial", "judgebench, gpt-4o pairs", "faireval pairs in llmbar"
PLAIN = "/Vanilla_NoRules"
Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--exams", type=int, default=1000)
    args = parser.parse_args()
    sets = json.loads((DOCS / "results" / "judges.json").read_text(encoding="utf-8"))["sets"]
    found = {table.name: table for table, _ in tables(args.data)[0]}
    read = load("cobbler", args.data)
    exams = {name: picked(found[name], args.exams) for name in (BENCH, "llmbar, all", "cobbler")}
    order = {name: by_votes(read, vote, args.draws) for name, vote in voters(read).items()}
    curves = covered(found)
    report = {"draws": args.draws, "exams_drawn": args.exams, "order": order, "exam": exams, "coverage": curves}
    (DOCS / "results" / "judging_pictures.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw_judges(sets, curves)
    draw_votes(order)
    fill("judges", {"judges": judges_table(sets), "panels": panels_table(sets), "exams": exams_table(exams)})
    fill("votes", {"order": order_table(order)})


def voters(read: JudgingSet) -> dict[str, Callable[[NDArray[np.int64], int, np.random.Generator], Leaderboard]]:
    """By name: (instructions to take votes of, how many votes, chance) -> the board that they give."""
    systems = tuple(one.system for one in read.items[0].responses)
    places = np.array([read.places[item.id] for item in read.items])
    first, second = np.triu_indices(len(systems), 1)

    def board(gap: NDArray[Any]) -> Callable[[NDArray[np.int64], int, np.random.Generator], Leaderboard]:
        """gap [instructions, voters, pairs]: above 0 where the first of the pair wins."""

        def rated(taken: NDArray[np.int64], votes: int, rng: np.random.Generator) -> Leaderboard:
            pool = gap[taken].reshape(-1, len(first))
            chosen = rng.choice(pool.size, min(votes, pool.size), replace=False)
            pair = chosen % len(first)
            won = (np.sign(pool.ravel()[chosen]) + 1) / 2
            return bradley_terry(
                Matches.coded(systems, first[pair], second[pair], won), ridge=1.0, disconnected="rank_each"
            )

        return rated

    def sets_of_four(taken: NDArray[np.int64], votes: int, rng: np.random.Generator) -> Leaderboard:
        pool = places[taken].reshape(-1, len(systems))
        rankings = []
        for row in rng.integers(0, len(pool), votes):
            shown = rng.choice(len(systems), 4, replace=False)
            rankings.append(tuple(systems[at] for at in shown[np.argsort(pool[row, shown])]))
        return plackett_luce(rankings, systems, ridge=1.0, interval="none", disconnected="rank_each")

    people = places[:, :, second] - places[:, :, first]
    found = {"people, pairs": board(people), "people, sets of four": sets_of_four}
    for judge in ("chatgpt", "gpt4"):
        said = {one.item_id: one.scores for one in read.recorded[judge]}
        wins = np.array([said[item.id] for item in read.items], float)
        found[f"{judge} as judge, pairs"] = board((wins[:, first] - wins[:, second])[:, None])
    return found


def by_votes(
    read: JudgingSet, vote: Callable[[NDArray[np.int64], int, np.random.Generator], Leaderboard], draws: int
) -> list[dict[str, float | None]]:
    """For each number of votes: tau with the other half's order, mean and 5th to 95th percentile; mean half-width."""
    systems = tuple(one.system for one in read.items[0].responses)
    places = np.array([read.places[item.id] for item in read.items])
    rows = []
    for votes in VOTES:
        taus, widths = [], []
        for seed in range(draws):
            rng = np.random.default_rng(seed)
            half = rng.permutation(len(places))
            ours, theirs = half[: len(half) // 2], half[len(half) // 2 :]
            truth = -places[theirs].reshape(-1, len(systems)).mean(0)
            made = vote(ours, votes, rng)
            taus.append(tau_b(truth, [made[name].value for name in systems]))
            widths += [(one.high - one.low) / 2 for one in made.ratings if one.high is not None and one.low is not None]
        low, high = np.quantile(taus, [0.05, 0.95])
        told = {"votes": votes, "tau": np.mean(taus), "low": low, "high": high}
        rows.append(
            {name: round(float(value), 4) for name, value in told.items()}
            | {"half_width": round(float(np.mean(widths)), 1) if widths else None}
        )
    return rows


def rule(votes: float, systems: int) -> float:
    """Half a 95 % interval of one of so many equals, in rating points."""
    return 1.96 * SCALE * math.sqrt(2 * (systems - 1) ** 2 / (systems * votes))


def picked(table: Table, draws: int) -> list[dict[str, float | str]]:
    """For each size of an exam: how often it picks the judge that is best on all pairs, and what is lost by it."""
    there = np.flatnonzero(np.all([said.asked for said in table.judges.values()], axis=0))
    table = table.at(there)
    names = list(table.judges)
    right = np.array([table.right(table.judges[name].both) for name in names])
    whole = right.mean(1)
    rng = np.random.default_rng(0)
    rows = []
    for size in EXAMS:
        best, lost = 0, []
        for _ in range(draws):
            marks = right[:, rng.choice(right.shape[1], size, replace=False)].mean(1)
            one = rng.choice(np.flatnonzero(np.isclose(marks, marks.max())))
            best += int(one == whole.argmax())
            lost.append(whole.max() - whole[one])
        rows.append(
            {
                "pairs": size,
                "best": names[int(whole.argmax())],
                "picked": best / draws,
                "lost": round(float(np.mean(lost)), 4),
            }
        )
    return rows


def covered(found: Mapping[str, Table]) -> dict[str, list[list[float]]]:
    """[coverage, accuracy] of judges by how sure they are, from the surest fifth on; right is right, half is wrong."""
    hard, bench = found[HARD], found[BENCH]
    asked: dict[str, tuple[Table, Said]] = {
        "GPT-4, gap of scores": (hard, hard.judges["GPT-4/Rating"]),
        "GPT-4, nine prompts": (hard, hard.judges["GPT-4/all prompts"]),
        "o1-mini, both orders": (bench, bench.judges["arena_hard/o1-mini-2024-09-12"]),
        "PaLM2, five prompts": (hard, hard.judges["PaLM2/all prompts"]),
        "ChatGPT, nine prompts": (hard, hard.judges["ChatGPT/all prompts"]),
    }
    curves = {}
    for name, (table, said) in asked.items():
        there = np.flatnonzero(said.asked)
        part = said.at(there)
        assert part.sure is not None
        right = table.at(there).right(part.both) == 1.0
        points = [(one.coverage, one.accuracy.value) for one in coverage_curve(right, part.sure)]
        curves[name] = [[round(x, 4), round(y, 4)] for x, y in points if x >= 0.2]
    return curves


def draw_judges(sets: Mapping[str, Any], curves: Mapping[str, list[list[float]]]) -> None:
    chosen = [(title, name, row) for title, _, name, row in shown_judges(sets)]
    for file, heading, key, at in (
        ("judges-accuracy", "Right, the vote of both orders; dashed: chance", "both", 0.5),
        ("judges-conflict", "Says otherwise when the answers are swapped", "conflict", None),
    ):
        rows = [
            (f"{title}: {name}", *(row[key][part] for part in ("value", "low", "high"))) for title, name, row in chosen
        ]
        put(file, forest(heading, rows, axis="share of pairs", at=at))
    panels = [
        (f"{title}: {what}", *(row[key][part] for part in ("value", "low", "high")))
        for title, row in shown_panels(sets)
        for what, key in (("equal weights", "equal_over_best"), ("weights by exam", "exam_over_best"))
    ]
    put("judges-panels", forest("Panel less its best member; dashed: no difference", panels, axis="accuracy", at=0.0))
    drawn: list[Line] = [(name, [x for x, _ in curve], [y for _, y in curve]) for name, curve in curves.items()]
    put("judges-coverage", lines("Right among the pairs where the judge is surest", drawn, "share judged", "right"))


def draw_votes(order: Mapping[str, list[dict[str, float | None]]]) -> None:
    drawn: list[Line] = [
        (name, [float(row["votes"] or 0) for row in rows], [float(row["tau"] or 0) for row in rows])
        for name, rows in order.items()
    ]
    put(
        "votes-order",
        lines("Order by some votes, beside people's order on other instructions", drawn, "votes", "τ", log=True),
    )
    rows = order["people, pairs"]
    votes = [float(row["votes"] or 0) for row in rows]
    widths: list[Line] = [
        ("measured", votes, [float(row["half_width"] or 0) for row in rows]),
        ("rule for equals", votes, [rule(n, 15) for n in votes]),
    ]
    put("votes-width", lines("Half a 95 % interval, 15 systems", widths, "votes", "rating points", log=True))


def put(name: str, svg: str) -> None:
    """A page shows a picture as a file, where `currentColor` is black: it gets a ground of its own."""
    ground = svg.replace("<svg ", '<svg style="background:#fff;color:#222" ', 1)
    (DOCS / "images" / f"{name}.svg").write_text(ground + "\n", encoding="utf-8")


def shown_judges(sets: Mapping[str, Any]) -> list[tuple[str, str, str, Row]]:
    """(title, set, judge, row): one prompt of each judge, on hard pairs and on FairEval's."""
    found = [("LLMBar", HARD, name, row) for name, row in sets[HARD]["judges"].items() if name.endswith(PLAIN)]
    found += [("JudgeBench", BENCH, name, row) for name, row in sets[BENCH]["judges"].items()]
    other = "judgebench, claude pairs"
    found += [("JudgeBench*", other, name, row) for name, row in sets[other]["judges"].items()]
    found += [("FairEval", FAIR, name, row) for name, row in sets[FAIR]["judges"].items()]
    return [(title, of, short(name), row) for title, of, name, row in found]


def shown_panels(sets: Mapping[str, Any]) -> list[tuple[str, Row]]:
    names = {
        (HARD, "six judges, CoT"): "LLMBar, 6 judges",
        ("llmbar, all", "four judges"): "LLMBar, 4 judges",
        (FAIR, "four judges"): "FairEval, 4 judges",
        ("pandalm", "both judges"): "PandaLM, 2 judges",
        (BENCH, "o1-mini and five reward models"): "JudgeBench, 6 judges",
        ("cobbler", "14 systems"): "CoBBLEr, 14 judges",
    }
    return [(title, sets[of]["panels"][panel]) for (of, panel), title in names.items()]


def short(name: str) -> str:
    """A judge's name without its maker, its prompt and its date."""
    name = re.sub(r"^(arena_hard|reward_model)/", "", name).removesuffix(PLAIN)
    return re.sub(r"^(Ray2333|Skywork|internlm)_|-rewardmodel-ft|-Reward|-\d{4}-?\d\d-?\d\d$", "", name)


def judges_table(sets: Mapping[str, Any]) -> str:
    head = ("set", "judge", "pairs", "one order", "both orders", "conflict", "80 % surest")
    rows = [
        (title, name, row["one"]["n"], *(cell(row.get(key)) for key in ("one", "both", "conflict", "at_80")))
        for title, _, name, row in shown_judges(sets)
    ]
    return as_table(head, rows)


def panels_table(sets: Mapping[str, Any]) -> str:
    head = (
        "panel",
        "best member",
        "equal weights",
        "weights by exam",
        "equal less best",
        "exam less best",
        "exam less equal",
    )
    rows = [
        (
            title,
            *(f"{row[key]['value']:.3f}" for key in ("best", "equal", "exam")),
            *(cell(row[key], sign="+") for key in ("equal_over_best", "exam_over_best", "exam_over_equal")),
        )
        for title, row in shown_panels(sets)
    ]
    return as_table(head, rows)


def exams_table(exams: Mapping[str, list[dict[str, Any]]]) -> str:
    head = (
        "exam of",
        *(f"{name.partition(',')[0]}: picks {short(rows[0]['best'])}, lost" for name, rows in exams.items()),
    )
    rows = [
        (f"{size} pairs", *(f"{some[place]['picked']:.0%}, {some[place]['lost']:.3f}" for some in exams.values()))
        for place, size in enumerate(EXAMS)
    ]
    return as_table(head, rows)


def order_table(order: Mapping[str, list[dict[str, float | None]]]) -> str:
    rows = []
    for place, votes in enumerate(VOTES):
        some = [one[place] for one in order.values()]
        taus = [f"{one['tau']:.2f} ({one['low']:.2f}–{one['high']:.2f})" for one in some]
        rows.append((f"{votes:,}", *taus, f"±{order['people, pairs'][place]['half_width']:.0f}"))
    return as_table(("votes", *order, "interval, people's pairs"), rows)


def cell(one: Row | None, sign: str = "") -> str:
    if one is None:
        return "–"
    return f"{one['value']:{sign}.3f} ({one['low']:{sign}.3f} to {one['high']:{sign}.3f})"


def as_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows))


def fill(page: str, made: Mapping[str, str]) -> None:
    """Put tables between their marks. A mark that is not there ends the run."""
    path = DOCS / "howto" / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    for name, table in made.items():
        begin, end = f"<!-- made: {name} -->", "<!-- made: end -->"
        if begin not in text:
            raise SystemExit(f"{path}: has no mark {begin}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
