"""Recorded judging data: items, what people said of them, and what real judges once said, ready to be replayed.

`load("llmbar_recorded", data)` reads one set from the folder `data/judging`. Winners are in the item's own numbering,
also of answers shown swapped. A verdict that could not be used (empty, other text, no score) is `invalid`, never a
tie. Gold labels stand beside the items, not in them, so that no judge can read them.

Ours, by set:

- llmbar_recorded: of the protocols Rating and Rating_NoRules the two ratings become scores; equal ratings keep the
  winner that their authors gave them by place (the second shown). `samples("GPT-4")` has the protocols as samples.
- judgebench: each judge saw one of two halves of the pairs; `asked` tells which. A reward model's scores stand with
  the given order only.
- personal_judge/*: the same pair asked with its answers exchanged is one item, `swapped`; a question asked twice gives
  samples. Without a persona, certainty was told on another scale (1 to 5) and is left out. C is a tie only where ties
  were allowed. Items whose recordings disagree on gold have none.
- cobbler: a judge's scores are its pairwise wins; without any win the judge gave no verdict. `places` holds the orders
  of six people, [people, responses], 1 the best.
- hhh: the chosen answer is put first or second by a digest of the id.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput
from weighup.judge.recorded import RecordedJudge
from weighup.judge.sets_rows import (
    Asked,
    AutoJ,
    Cobbler,
    FairEval,
    Hhh,
    JudgeBench,
    Llmbar,
    PandaLM,
    Personal,
    rows,
)
from weighup.judge.types import Item, Judgement, Order, Response, Winner, answered

ORDERS: tuple[Order, Order] = ("given", "swapped")
_BY_LETTER: dict[object, Winner] = {"A": "1", "B": "2", "C": "tie"}


@dataclass(frozen=True, slots=True)
class JudgingSet:
    """`gold`: what people decided, by item; `votes`: what each of them said; `places`: the place of each response by
    each of them; `recorded`: judgements by name of the judge, mostly judge/protocol."""

    name: str
    items: tuple[Item, ...]
    gold: Mapping[str, Winner] = field(default_factory=dict)
    votes: Mapping[str, tuple[Winner, ...]] = field(default_factory=dict)
    places: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    recorded: Mapping[str, tuple[Judgement, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The recorded judges, sorted."""
        return tuple(sorted(self.recorded))

    def judge(self, name: str) -> RecordedJudge:
        """One recorded judge. Raises InvalidInput, naming those there are, for an unknown name."""
        return RecordedJudge(self._of(name), name)

    def asked(self, *names: str) -> tuple[Item, ...]:
        """The items that each of these judges was asked, in any order or sample."""
        seen = [{one.item_id for one in self._of(name)} for name in names]
        return tuple(item for item in self.items if all(item.id in ids for ids in seen))

    def protocols(self, judge: str) -> tuple[str, ...]:
        """The recorded names of one judge: `judge`, or `judge/protocol`."""
        found = tuple(name for name in self.names if name == judge or name.startswith(f"{judge}/"))
        return found or (self._unknown(judge),)

    def samples(self, judge: str) -> RecordedJudge:
        """One judge under all its protocols: sample i is what it said under the i-th of `protocols`."""
        said = [
            one.model_copy(update={"sample": place, "judge": judge})
            for place, name in enumerate(self.protocols(judge))
            for one in self.recorded[name]
            if one.sample == 0
        ]
        return RecordedJudge(said, judge)

    def orders(self, name: str) -> tuple[Order, ...]:
        """The orders in which a judge was asked."""
        there = {one.order for one in self._of(name)}
        return tuple(order for order in ORDERS if order in there)

    def _of(self, name: str) -> tuple[Judgement, ...]:
        return self.recorded[name] if name in self.recorded else self.recorded[self._unknown(name)]

    def _unknown(self, name: str) -> str:
        told = ", ".join(self.names) or "none"
        raise InvalidInput(f"{self.name}: no judge {name!r} is recorded; there are: {told}")


def load(name: str, data: Path) -> JudgingSet:
    """One of `SETS` from the folder that holds `judging`. Raises InvalidInput naming file, line and field."""
    if name not in SETS:
        raise InvalidInput(f"judging set: there is no {name!r}; there are {', '.join(SETS)}")
    file, reader = SETS[name]
    return reader(name, data / "judging" / file)


def _llmbar(name: str, path: Path) -> JudgingSet:
    items, gold, said = [], {}, _Said()
    for row in rows(path, Llmbar):
        item = Item.pair(row.id, row.input, row.output_1, row.output_2, category=row.subset)
        items.append(item)
        gold[row.id] = _winner(row.label)
        for judge, one in row.recorded.items():
            scores = _ratings(one.ratings)
            unread = one.ratings is not None and scores is None
            said.verdict(item, judge, None if unread else one.winner, scores)
            said.verdict(item.swapped(), judge, None if unread else one.winner_swapped, scores)
    return JudgingSet(name, tuple(items), gold, recorded=said.frozen())


def _faireval(name: str, path: Path) -> JudgingSet:
    two: tuple[str, str] = ("gpt35", "vicuna-13b")
    items, gold = [], {}
    for number, row in enumerate(rows(path, FairEval), 1):
        missing = [one for one in two if one not in row.answers]
        if missing:
            raise InvalidInput(f"{path}: line {number}: answers.{missing[0]}: missing")
        item = Item(
            id=f"faireval-{row.id}",
            prompt=row.question,
            responses=tuple(Response(text=row.answers[one], system=one) for one in two),
            category=row.category,
        )
        items.append(item)
        gold[item.id] = "tie" if row.human == "tie" else _winner(str(two.index(row.human) + 1))
    return JudgingSet(name, tuple(items), gold)


def _pandalm(name: str, path: Path) -> JudgingSet:
    items, gold, votes, said = [], {}, {}, _Said()
    for row in rows(path, PandaLM):
        texts = (row.output_1, row.output_2)
        item = Item(
            id=row.id,
            prompt=f"{row.instruction}\n\n{row.input}".strip(),
            responses=tuple(Response(text=text, system=by) for text, by in zip(texts, row.models, strict=True)),
        )
        items.append(item)
        votes[row.id] = row.human
        most, count = Counter(row.human).most_common(1)[0]
        if count > 1:
            gold[row.id] = most
        for judge, winner in row.recorded.items():
            said.verdict(item, judge, winner)
    return JudgingSet(name, tuple(items), gold, votes, recorded=said.frozen())


def _judgebench(name: str, path: Path) -> JudgingSet:
    items, gold, said = [], {}, _Said()
    for row in rows(path, JudgeBench):
        texts = (row.output_1, row.output_2)
        answers = tuple(Response(text=text, system=row.response_model) for text in texts)
        item = Item(id=row.id, prompt=row.question, responses=answers, category=row.source)
        items.append(item)
        gold[row.id] = _winner(row.label)
        for judge, one in row.recorded.items():
            said.verdict(item, judge, one.first, one.scores)
            said.verdict(item.swapped(), judge, one.second)
    return JudgingSet(name, tuple(items), gold, recorded=said.frozen())


def _cobbler(name: str, path: Path) -> JudgingSet:
    items, places, said = [], {}, _Said()
    for number, row in enumerate(rows(path, Cobbler), 1):
        systems = tuple(row.responses)
        told = [*row.human_ranks, *row.judge_wins.values()]
        if any(sorted(one) != sorted(systems) for one in told):
            raise InvalidInput(f"{path}: line {number}: human_ranks, judge_wins: not one entry a response")
        item = Item(
            id=row.id,
            prompt=row.instruction,
            responses=tuple(Response(text=row.responses[one], system=one) for one in systems),
            reference=row.reference,
        )
        items.append(item)
        places[row.id] = tuple(tuple(order.index(one) + 1 for one in systems) for order in row.human_ranks)
        for judge, wins in row.judge_wins.items():
            said.scores(item, judge, tuple(wins[one] for one in systems) if any(wins.values()) else None)
    return JudgingSet(name, tuple(items), places=places, recorded=said.frozen())


def _personal(name: str, path: Path) -> JudgingSet:
    items: dict[tuple[object, ...], Item] = {}
    golds: dict[str, set[Winner]] = defaultdict(set)
    said = _Said()
    for row in rows(path, Personal):
        texts = (row.asst_A or row.pair_A or "", row.asst_B or row.pair_B or "")
        with_texts = any(texts)
        key = (row.person, row.user_info, row.question, *sorted(texts)) if with_texts else (row.id,)
        item = items.setdefault(key, _persons_item(row, texts))
        shown = item.swapped() if with_texts and item.responses[0].text != texts[0] else item
        for judge, told in row.recorded.items():
            for one in told if isinstance(told, tuple) else (told,):
                said.personal(shown, judge, one)
                golds[item.id].add(_winner(answered(shown, judge, winner=_BY_LETTER[one.gold]).winner))
    gold = {key: next(iter(one)) for key, one in golds.items() if len(one) == 1}
    return JudgingSet(name, tuple(items.values()), gold, recorded=said.frozen())


def _persons_item(row: Personal, texts: tuple[str, str]) -> Item:
    prompt = row.question if row.question is not None else "Which of the two did this person write?"
    return Item.pair(row.id, prompt, *texts, persona=row.user_info, meta={"person": row.person})


def _autoj(name: str, path: Path) -> JudgingSet:
    read = list(rows(path, AutoJ))
    items = tuple(Item.pair(row.id, row.prompt, row.output_1, row.output_2, category=row.scenario) for row in read)
    return JudgingSet(name, items, {row.id: row.human for row in read})


def _hhh(name: str, path: Path) -> JudgingSet:
    items, gold = [], {}
    for row in rows(path, Hhh):
        first = hashlib.sha256(row.id.encode()).digest()[0] % 2 == 0
        texts = (row.chosen, row.rejected) if first else (row.rejected, row.chosen)
        items.append(Item.pair(row.id, row.prompt, *texts, category=row.subset))
        gold[row.id] = _winner("1" if first else "2")
    return JudgingSet(name, tuple(items), gold)


class _Said:
    """Judgements as they are read, by judge; recordings of the same item and order become samples."""

    def __init__(self) -> None:
        self._found: dict[str, list[Judgement]] = defaultdict(list)
        self._times: Counter[tuple[str, str, Order]] = Counter()

    def frozen(self) -> dict[str, tuple[Judgement, ...]]:
        return {judge: tuple(some) for judge, some in self._found.items()}

    def verdict(self, item: Item, judge: str, winner: object, scores: tuple[float, float] | None = None) -> None:
        """`winner` in the item's own numbering; anything but 1, 2 and tie is unusable."""
        ok = winner in ("1", "2", "tie")
        said: dict[str, Any] = {"winner": winner, "scores": scores} if ok else {"status": "invalid"}
        self._add(judge, item, said)

    def scores(self, item: Item, judge: str, scores: Sequence[float] | None) -> None:
        said: dict[str, Any] = {"scores": tuple(scores)} if scores is not None else {"status": "invalid"}
        self._add(judge, item, {"kind": "score"} | said)

    def personal(self, item: Item, judge: str, one: Asked) -> None:
        """`one` in the numbering as shown. Certainty from percent to [0, 1]; None where there is none."""
        allowed = ("A", "B", "C") if judge.endswith(("+tie", "/no_persona")) else ("A", "B")
        if one.answer not in allowed:
            self._add(judge, item, {"status": "invalid"})
            return
        winner = answered(item, judge, winner=_BY_LETTER[one.answer]).winner
        certainty = None if judge.endswith("/no_persona") else _percent(one.certainty)
        self._add(judge, item, {"winner": winner, "certainty": certainty})

    def _add(self, judge: str, item: Item, said: Mapping[str, Any]) -> None:
        place = (judge, item.id, item.order)
        one = Judgement(item_id=item.id, judge=judge, order=item.order, sample=self._times[place], **said)
        self._times[place] += 1
        self._found[judge].append(one)


def _winner(told: str | None) -> Winner:
    """A winner that the row's model has checked already."""
    known: dict[str | None, Winner] = {"1": "1", "2": "2", "tie": "tie"}
    return known[told]


def _ratings(told: tuple[str, str] | None) -> tuple[float, float] | None:
    if told is None or not all(one.strip().isdecimal() for one in told):
        return None
    return float(told[0]), float(told[1])


def _percent(told: object) -> float | None:
    text = str(told).strip()
    return int(text) / 100 if text.isdecimal() and 1 <= int(text) <= 100 else None


SETS: Mapping[str, tuple[str, Callable[[str, Path], JudgingSet]]] = {
    "llmbar_recorded": ("llmbar_recorded.jsonl.gz", _llmbar),
    "faireval": ("faireval.jsonl.gz", _faireval),
    "pandalm": ("pandalm/testset.jsonl.gz", _pandalm),
    "judgebench": ("judgebench/pairs.jsonl.gz", _judgebench),
    "cobbler": ("cobbler/rankings.jsonl.gz", _cobbler),
    "personal_judge/prism": ("personal_judge/prism.jsonl.gz", _personal),
    "personal_judge/ap": ("personal_judge/ap.jsonl.gz", _personal),
    "personal_judge/ec": ("personal_judge/ec.jsonl.gz", _personal),
    "autoj_pairs": ("autoj_pairs/pairs.jsonl.gz", _autoj),
    "hhh": ("hhh/pairs.jsonl.gz", _hhh),
}
