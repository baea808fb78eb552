"""A judge that says what was once said: recorded verdicts, replayed for analysis without calling a model again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judgement, Rubric
from weighup.rowfile import json_lines


class RecordedJudge:
    """Replays judgements by item, order and sample. What was not recorded is `invalid`, never guessed.

    `name` None: that of the recordings, which must then all be of one judge. A later recording replaces an earlier one.
    """

    def __init__(self, judgements: Iterable[Judgement], name: str | None = None) -> None:
        self._said = {(one.item_id, one.order, one.sample): one for one in judgements}
        names = sorted({one.judge for one in self._said.values()})
        if name is None and len(names) != 1:
            raise InvalidInput(f"recorded judge: recordings of one judge are needed, these are of {names}; give a name")
        self.name = name or names[0]

    @classmethod
    def read(cls, path: Path, judge: str | None = None) -> RecordedJudge:
        """From a JSONL file of judgements; `judge` picks those of one. Raises InvalidInput naming file and line."""
        return cls([one for one in read_judgements(path) if judge is None or one.judge == judge], judge)

    def __len__(self) -> int:
        return len(self._said)

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """What was recorded of each item. The rubric is not looked at: it was when the recording was made."""
        return [self._of(item) for item in items]

    def _of(self, item: Item) -> Judgement:
        found = self._said.get((item.id, item.order, item.sample))
        if found is not None:
            return found if found.judge == self.name else found.model_copy(update={"judge": self.name})
        return Judgement(item_id=item.id, judge=self.name, order=item.order, sample=item.sample, status="invalid")


def read_judgements(path: Path) -> list[Judgement]:
    """All judgements of a JSONL file, in order. Raises InvalidInput naming file and line."""
    return [_read(line, path, number) for number, line in json_lines(path)]


def _read(line: bytes, path: Path, number: int) -> Judgement:
    try:
        return Judgement.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        raise InvalidInput(f"{path}: line {number}: {place}: {first['msg']}") from error
