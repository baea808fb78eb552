"""mkdocs hook: puts measured results, kept as JSON, into the pages that show them.

Run as a script, `python docs/hooks.py` writes the numbers in README.md anew from the same files.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from weighup.claims import as_markdown, stored

NOT_YET = "*Not measured yet.*"
PLAIN = ("scale", "load", "watch", "soak", "judge_run", "hostile_answers", "moe_hooks")
"""Results that are shown as they are, in `<!-- NAME results -->`."""
ROWS = (
    "bradley_terry", "recommenders", "moe_layer", "moe_routers", "moe_compress", "moe_offload", "moe_local",
    "ease_calibration",
)  # fmt: skip
"""Results with `rows`, shown as one table, what else they say below it."""
MEASURED = re.compile(r"(<!-- measured: [^\n]+ -->\n).*?(\n<!-- measured: end -->)", re.DOTALL)

# Of the data notes: n-grams and logistic regression, fitted on the set's own training part.
FLOORS = {
    "liar": "0.613 (0.660)",
    "covid_constraint": "0.944 (0.985)",
    "ced_weibo": "0.742 (0.914)",
    "climate_fever": "0.617 (0.675)",
    "covid_fact": "0.588 (0.649)",
}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace each mark by the tables it stands for."""
    results = Path(page.file.src_dir) / "results"
    places = {
        "<!-- claim results -->": lambda: as_markdown(stored(results / "claims")),
        "<!-- evaluator results -->": evaluators,
        **{f"<!-- {name} results -->": lambda name=name: plain(results / f"{name}.json") for name in PLAIN},
        "<!-- evaluator comparison -->": lambda: compared(results / "evaluators.json"),
        "<!-- calibration results -->": calibration,
        "<!-- content results -->": content,
        "<!-- check results -->": lambda: check(results / "check.json"),
        "<!-- store results -->": lambda: flat(results / "store.json"),
        "<!-- verify findings -->": lambda: found(results / "verify.json"),
        "<!-- verify results -->": lambda: verify(results / "verify.json"),
        "<!-- transfer findings -->": lambda: found(results / "transfer.json"),
        "<!-- transfer results -->": lambda: verify(results / "transfer.json"),
        "<!-- time results -->": lambda: verify(results / "time.json"),
        **{f"<!-- {name} results -->": lambda name=name: rows(results / f"{name}.json") for name in ROWS},
        "<!-- judges results -->": lambda: judges(results / "judges.json"),
        "<!-- ablation results -->": lambda: ablations(results / "ablations.json"),
    }
    for mark, made in places.items():
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


def card_of(part: str) -> dict[str, Any]:
    """A shipped part's card."""
    found: dict[str, Any] = json.loads((files("weighup") / "_weights" / f"{part}.json").read_text(encoding="utf-8"))
    return found


def evaluators() -> str:
    """How well each evaluator tells when its perspective is right, out of fold, from the card of the heads."""
    rows = []
    for kind, about in card_of("ease")["tried_out_of_fold"]["evaluator"].items():
        parts = {"all": about["all"], **about["by_set"], **{f"q = {q}": row for q, row in about["by_q"].items()}}
        rows += [
            [kind, name, *(dash(row[key]) for key in ("rows", "right", "auroc", "brier", "ece"))]
            for name, row in parts.items()
        ]
    return table(["perspective", "rows of", "rows", "right", "AUROC", "Brier", "ECE"], rows)


def compared(path: Path) -> str:
    """Ways of assessing reliability, side by side."""
    if not path.is_file():
        return NOT_YET
    found = json.loads(path.read_text(encoding="utf-8"))
    columns = list(found["rows"][0])
    return table(columns, [[dash(row[name]) for name in columns] for row in found["rows"]])


def calibration() -> str:
    """Calibration errors and the risk on halves that took no part, from the card of the calibration."""
    card = card_of("calibration")
    maps = [
        [kind, about["map"], about["fitted_on"], dash(about["ece"]["before"]), dash(about["ece"]["after"])]
        for kind, about in card["maps"].items()
    ]
    selected = card["ece_of_the_selected"]
    maps.append(["whichever was selected", "–", "–", dash(selected["before"]), dash(selected["after"])])
    risks = [
        [asked, *(dash(about[way][key]) for way in ("one", "each") for key in ("risk", "called"))]
        for asked, about in card["risk_on_held_out_halves"].items()
    ]
    columns = ["asked", "one threshold: risk", "called", "one an expert: risk", "called"]
    return f"{table(['expert', 'map', 'fitted on', 'ECE before', 'ECE after'], maps)}\n\n{table(columns, risks)}"


def dash(value: Any) -> str:
    """A cell: floats to three places, nothing as a dash."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def check(path: Path) -> str:
    """The tables of benchmarks/check.py."""
    found = json.loads(path.read_text(encoding="utf-8"))
    parts = [table(["measure", "value"], list(found[part].items())) for part in ("latency", "batch") if part in found]
    if "calls" in found:
        columns = list(found["calls"]["weighup"])
        parts.append(table(["system", *columns], [[who, *row.values()] for who, row in found["calls"].items()]))
    return "\n\n".join(parts)


def content() -> str:
    """Scores of the content models on the test splits, from their card, beside the floors of the data notes."""
    card = json.loads((files("weighup") / "_weights" / "content.json").read_text(encoding="utf-8"))
    rows = [
        [f"`{name}`"]
        + [f"{row[f'{by}_macro_f1']:.3f} ({row[f'{by}_auroc']:.3f})" for by in ("content", "tone")]
        + [FLOORS.get(name, "–")]
        for name, row in card["metrics"]["test"].items()
    ]
    return table(["set", "content", "tone alone", "n-grams"], rows)


def found(path: Path) -> str:
    """What the numbers of `weighup evaluate --out` come to, as a list."""
    if not path.is_file():
        return NOT_YET
    from weighup.train.findings import findings
    from weighup.train.results import Evaluation

    return "\n".join(f"- {one}" for one in findings(Evaluation.model_validate_json(path.read_bytes())))


def ablations(path: Path) -> str:
    """The table of fits without one part: means over the sets, each set's own numbers where they lie."""
    if not path.is_file():
        return NOT_YET
    from weighup.train.ablations import read_ablations
    from weighup.train.rendering import ablation_table, markdown

    found = read_ablations(path)
    means = found.model_copy(update={"rows": [row for row in found.rows if row.set.startswith("mean of")]})
    return f"{markdown(ablation_table(means))}\n\nSet by set, with intervals: [{path.name}]({path.name})."


def readme(root: Path) -> str:
    """README.md as it should be: the block between its two marks made from the numbers."""
    from weighup.train.findings import readme as block
    from weighup.train.results import Evaluation

    results = root / "docs" / "results"
    measured = Evaluation.model_validate_json((results / "verify.json").read_bytes())
    made = block(measured, json.loads((results / "check.json").read_text(encoding="utf-8")))
    text = (root / "README.md").read_text(encoding="utf-8")
    return MEASURED.sub(lambda marks: f"{marks[1]}\n{made}\n{marks[2]}", text)


def verify(path: Path) -> str:
    """The figures and tables of `weighup evaluate --out`."""
    if not path.is_file():
        return NOT_YET
    from weighup.train.rendering import as_markdown
    from weighup.train.results import Evaluation

    return as_markdown(Evaluation.model_validate_json(path.read_bytes()))


def plain(path: Path) -> str:
    """`flat`, where the file is there."""
    return flat(path) if path.is_file() else NOT_YET


def rows(path: Path) -> str:
    """What a benchmark says in one number each, then its rows as a table of their own."""
    if not path.is_file():
        return NOT_YET
    told = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(told, list):  # what a command wrote with --out
        told = {"rows": told}
    columns = list(dict.fromkeys(name for row in told["rows"] for name in row if name != "told"))
    alone = [[f"`{name}`", value] for name, value in told.items() if not isinstance(value, (dict, list))]
    each = [["–" if row.get(name) is None else row[name] for name in columns] for row in told["rows"]]
    shown = table(columns, each)
    return shown + "\n\n" + table(["measure", "value"], alone) if alone else shown


def judges(path: Path) -> str:
    """Every recorded judge and panel on every set, with intervals."""
    if not path.is_file():
        return NOT_YET
    told = json.loads(path.read_text(encoding="utf-8"))

    def said(row: dict[str, Any], name: str) -> str:
        one = row.get(name)
        return "–" if one is None else f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"

    names = {"one": "one order", "both": "both orders", "one_kappa": "κ, one order", "conflict": "conflicts"}
    alone, panels = [], []
    for which, about in told["sets"].items():
        for name, row in about["judges"].items():
            alone.append([which, name, *(said(row, key) for key in (*names, "at_80"))])
        for name, row in about["panels"].items():
            panels.append([which, name, *(said(row, key) for key in ("equal", "exam", "exam_at_80", "best"))])
    lines = "\n".join(f"- {line}" for line in told["lines"])
    head = ["set", "judge", *names.values(), "at 80 % coverage"]
    panel = ["set", "panel", "equal weights", "exam weights", "at 80 % coverage", "best member"]
    return "\n\n".join((lines, table(panel, panels), table(head, alone)))


def flat(path: Path) -> str:
    """Any nested JSON as a two-column table, names joined by dots."""

    def walk(value: Any, name: str) -> list[list[Any]]:
        if isinstance(value, dict):
            return [row for key, inner in value.items() for row in walk(inner, f"{name}.{key}" if name else key)]
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [row for place, inner in enumerate(value, 1) for row in walk(inner, f"{name}.{place}")]
        return [[f"`{name}`", value]]

    return table(["measure", "value"], walk(json.loads(path.read_text(encoding="utf-8")), ""))


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    (root / "README.md").write_text(readme(root), encoding="utf-8")
