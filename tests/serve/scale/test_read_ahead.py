"""Reading ahead: what is written is what one process writes, whatever workers do first, and no more is under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from scale_samples import answers, claims, plain_verdict, write_rows

from weighup.errors import InvalidInput
from weighup.serve.scale.ahead import Ahead
from weighup.verify.batch import run_batch
from weighup.verify.contract import Verdict
from weighup.verify.row_files import read_rows
from weighup.verify.rows import BadRow, Row, read_row
from weighup.verify.types import Claim


class Backwards:
    """Answers the newest batch first, and only when `most` are waiting or somebody asks; keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.unanswered = 0
        self.most = 0

    def submit(self, asked: Sequence[Claim]) -> Future[list[Verdict]]:
        self.given.append([claim.text for claim in asked])
        self.unanswered += 1
        self.most = max(self.most, self.unanswered)
        return _Late(self, [claim.text for claim in asked])

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        return [plain_verdict(item if isinstance(item, str) else item.text) for item in items]


class _Late(Future[list[Verdict]]):
    def __init__(self, owner: Backwards, texts: list[str]) -> None:
        super().__init__()
        self._owner, self._texts = owner, texts

    def result(self, timeout: float | None = None) -> list[Verdict]:
        self._owner.unanswered -= 1
        if any(text.startswith("Raise") for text in self._texts):
            raise RuntimeError("a row that breaks the engine")
        return [plain_verdict(text) for text in self._texts]


def test_batches_are_those_of_one_process_and_a_bounded_number_is_under_way(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*claims(7), "{broken", *claims(30)[7:]])
    alone, ahead = tmp_path / "alone.jsonl", tmp_path / "ahead.jsonl"
    run_batch(Backwards(), read_rows(source), alone, batch_size=4)
    workers = Backwards()
    through = Ahead(workers, read_rows(source), batch_size=4, batches=3)
    assert run_batch(through, through, ahead, batch_size=4).failed == 1
    assert answers(ahead) == answers(alone)
    assert [len(batch) for batch in workers.given] == [4, 3, 4, 4, 4, 4, 4, 3]
    assert workers.most == 3


def test_a_bad_row_costs_only_itself_while_others_are_read_ahead(tmp_path: Path) -> None:
    rows = claims(12)
    rows[5]["text"] = "Raise an error."
    source, output = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "o.jsonl"
    through = Ahead(Backwards(), read_rows(source), batch_size=4, batches=4)
    outcome = run_batch(through, through, output, batch_size=4)
    assert (outcome.added, outcome.failed) == (12, 1)
    assert [line["id"] for line in answers(output)] == list(range(12))
    assert answers(output)[5]["error"] == "line 6: unexpected RuntimeError: a row that breaks the engine"


def test_equal_rows_are_each_answered_in_their_place(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [{"id": i, "text": "The same claim."} for i in range(9)])
    through = Ahead(Backwards(), read_rows(source), batch_size=2, batches=3)
    run_batch(through, through, tmp_path / "o.jsonl", batch_size=2)
    assert [line["id"] for line in answers(tmp_path / "o.jsonl")] == list(range(9))


def test_nothing_is_handed_out_for_rows_that_are_done(tmp_path: Path) -> None:
    source, output = write_rows(tmp_path / "rows.jsonl", claims(10)), tmp_path / "o.jsonl"
    run_batch(Backwards(), read_rows(source), output, batch_size=5)
    whole = output.read_bytes()
    output.write_bytes(b"".join(whole.splitlines(keepends=True)[:7]))
    workers = Backwards()
    through = Ahead(workers, read_rows(source), batch_size=5, batches=4)
    assert run_batch(through, through, output, batch_size=5).kept == 7
    assert [text for batch in workers.given for text in batch] == [row["text"] for row in claims(10)[7:]]
    assert output.read_bytes() == whole


def test_an_input_that_breaks_off_raises_after_the_rows_before_it(tmp_path: Path) -> None:
    def rows() -> Iterator[Row | BadRow]:
        for number, row in enumerate(claims(6), start=1):
            yield read_row(row, number)
        raise InvalidInput("rows.jsonl: is gone")

    through = Ahead(Backwards(), rows(), batch_size=4, batches=4)
    with pytest.raises(InvalidInput, match="is gone"):
        run_batch(through, through, tmp_path / "o.jsonl", batch_size=4)
    assert [line["id"] for line in answers(tmp_path / "o.jsonl")] == [0, 1, 2, 3]
