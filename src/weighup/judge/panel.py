"""Several judges as one: each is asked, what they say is combined by a rule, or by one more judge that reads it.

Weighted votes as in PRE (Chu et al. 2024, arXiv 2401.15641); leaving out a judge's votes on its own answers too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.orders import How, combine
from weighup.judge.types import OTHER, Item, Judge, Judgement, Rubric, Spent, unique


class Panel:
    """A judge made of judges.

    `weights`: by judge's name, 1 where one is not named; a judge of weight 0 is not asked. `how`: a rule of `combine`,
    or a judge that sees the others' verdicts and reasons as background and decides. `own_votes=False`: a judge's vote
    on an item with a response of its own is left out; whose a response is stands in `Response.system`, and which
    system a judge is in `systems` (by judge's name; else its own name), or in `meta["own"]` for all judges of a panel.

    One judgement an item: `waiting` while any judge is, `abstained` where nobody may vote. Judges that wait for people
    are asked first, and the others only what those have answered.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        weights: Mapping[str, float] | None = None,
        how: How | Judge = "vote",
        *,
        name: str = "panel",
        own_votes: bool = True,
        systems: Mapping[str, str] | None = None,
    ) -> None:
        """Raises InvalidInput for no judges, equal names, unknown or negative weights, or none above 0."""
        names = [one.name for one in judges]
        if not names:
            raise InvalidInput("panel: there are no judges")
        twice = sorted({one for one in names if names.count(one) > 1})
        if twice:
            raise InvalidInput(f"panel: judges need names that differ; there twice: {', '.join(twice)}")
        for told, given in (("weights", weights), ("systems", systems)):
            unknown = sorted(set(given or {}) - set(names))
            if unknown:
                raise InvalidInput(
                    f"panel: {told} of unknown judges: {', '.join(unknown)}; there are {', '.join(names)}"
                )
        self._weights = {one: 1.0 if weights is None else float(weights.get(one, 1.0)) for one in names}
        if min(self._weights.values()) < 0 or not sum(self._weights.values()) > 0:
            raise InvalidInput("panel: weights are 0 or more, and one of them more than 0")
        if isinstance(how, str) and how not in get_args(How):
            raise InvalidInput(f"panel: how: {', '.join(get_args(How))} or a judge, not {how!r}")
        asked = [one for one in judges if self._weights[one.name] > 0]
        self.judges = tuple(sorted(asked, key=lambda one: not waits(one)))
        self.waits = any(map(waits, self.judges))
        self.concurrency = min((n for one in self.judges if (n := at_a_time(one)) is not None), default=None)
        self.how, self.name, self._own = how, name, own_votes
        self._systems = {one: one if systems is None else systems.get(one, one) for one in names}

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        return {
            "judge": "panel",
            "name": self.name,
            "judges": [described(one) for one in self.judges],
            "weights": dict(self._weights),
            "how": self.how if isinstance(self.how, str) else described(self.how),
            "own_votes": self._own,
        }

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement of all judges' an item, in order."""
        unique(items)
        votes: list[list[Judgement]] = [[] for _ in items]
        for judge in self.judges:
            places = [n for n, item in enumerate(items) if self._may(judge, item) and not _waiting(votes[n])]
            said = judge.judge([items[n] for n in places], rubric) if places else []
            for place, one in zip(places, said, strict=True):
                votes[place].append(one.model_copy(update={"judge": judge.name}))
        if isinstance(self.how, str):
            return [self._combined(item, some, self.how) for item, some in zip(items, votes, strict=True)]
        return self._decided(self.how, items, votes, rubric)

    def _may(self, judge: Judge, item: Item) -> bool:
        if self._own:
            return True
        own = item.meta.get("own")
        wrote = isinstance(own, list) and judge.name in own
        return not wrote and self._systems[judge.name] not in {one.system for one in item.responses}

    def _combined(self, item: Item, votes: Sequence[Judgement], how: How) -> Judgement:
        early = self._early(item, votes)
        if early is not None:
            return early
        said = combine(votes, how, weights=self._weights, name=self.name)
        return said.model_copy(update=kept_of(item, votes))

    def _decided(
        self, judge: Judge, items: Sequence[Item], votes: Sequence[Sequence[Judgement]], rubric: Rubric | None
    ) -> list[Judgement]:
        """The last word of a judge that reads the others."""
        found = [self._early(item, some) for item, some in zip(items, votes, strict=True)]
        places = [n for n, one in enumerate(found) if one is None]
        shown = [items[n].model_copy(update={"context": _told(items[n], votes[n])}) for n in places]
        for place, one in zip(places, judge.judge(shown, rubric) if shown else [], strict=True):
            update = kept_of(items[place], [*votes[place], one]) | {"judge": self.name, "rationale": one.rationale}
            found[place] = one.model_copy(update=update)
        return [one for one in found if one is not None]

    def _early(self, item: Item, votes: Sequence[Judgement]) -> Judgement | None:
        """What is known before the votes are looked at: nobody may vote, or somebody has yet to."""
        base = Judgement(item_id=item.id, judge=self.name, order=item.order, sample=item.sample)
        if not votes:
            return base.model_copy(update={"status": "abstained"})
        if _waiting(votes):
            return base.model_copy(update=kept_of(item, votes) | {"status": "waiting", "rationale": ""})
        return None


def waits(judge: object) -> bool:
    """Whether a judge may have to be asked again later."""
    return bool(getattr(judge, "waits", False))


def at_a_time(judge: object) -> int | None:
    """How many calls its model takes at once; None where it has none, or does not say."""
    found: int | None = getattr(judge, "concurrency", None)
    return found


def described(judge: Judge) -> dict[str, JsonValue]:
    """What a judge tells of itself in `describe`; else its class and name."""
    describe = getattr(judge, "describe", None)
    if describe is None:
        return {"judge": type(judge).__name__, "name": judge.name}
    told: dict[str, JsonValue] = describe()
    return told


def _waiting(votes: Sequence[Judgement]) -> bool:
    return any(one.status == "waiting" for one in votes)


def kept_of(item: Item, votes: Sequence[Judgement]) -> dict[str, Any]:
    """What a judgement keeps of those it was made from."""
    return {
        "order": item.order,
        "sample": item.sample,
        "usage": sum((one.usage for one in votes), Spent()),
        "prompts": {name: told for one in votes for name, told in one.prompts.items()},
        "rationale": "\n".join(f"{one.judge}: {one.rationale}" for one in votes if one.usable and one.rationale),
    }


def _told(item: Item, votes: Sequence[Judgement]) -> str:
    """The background of an item with what the judges said of it, in the numbering in which it is shown."""
    lines = [item.context] if item.context else []
    lines.append("What other judges said (they may be wrong):")
    for one in votes:
        if one.winner is not None:
            winner = OTHER[one.winner] if item.order == "swapped" else one.winner
            said = "a tie" if winner == "tie" else f"response {winner} is better"
        elif one.scores is not None:
            scores = one.scores[::-1] if item.order == "swapped" else one.scores
            said = "scores " + ", ".join("none" if score is None else f"{score:g}" for score in scores)
        else:
            continue
        lines.append(f"- {one.judge}: {said}")
    return "\n".join(lines)
