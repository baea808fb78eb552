"""What the desk keeps so that like is found by like, and that no verdict is ever lost over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from watch_samples import WordChecker

from weighup.models.open import encoder as open_encoder
from weighup.serve.db import Database
from weighup.serve.desk import Answer, Asked, Desk
from weighup.serve.watch.vectors import Remembering
from weighup.settings import load_settings
from weighup.verify.types import Claim
from weighup.verify.verifier import Verifier

RESIGNED, STEPPED = "The mayor resigned on Monday.", "The mayor stepped down on Monday."


class Counting:
    """An encoder that tells what it was asked; it breaks when told to."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name, self.version, self.dimension = inner.name, inner.version, inner.dimension
        self.asked: list[str] = []
        self.calls = 0
        self.broken = False

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> Any:
        if self.broken:
            raise RuntimeError("no more vectors")
        self.asked += texts
        self.calls += 1
        return self.inner.encode(texts, batch_size=batch_size)

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> Any:
        return self.inner.tokens(texts, max_tokens=max_tokens)


@pytest.fixture
def counting(models_ready: object) -> Counting:
    return Counting(open_encoder(load_settings()))


@pytest.fixture
def verifier(counting: Counting) -> Iterator[Verifier]:
    with Verifier(load_settings(), offline=True, search=False, brief=True, encoder=Remembering(counting)) as made:
        yield made


def check(desk: Desk, *claims: str, key: str = "k") -> list[Answer]:
    return desk.check([Asked(Claim(claim), key) for claim in claims])


def test_what_like_it_was_judged_before_is_found(db: Database, verifier: Verifier, counting: Counting) -> None:
    made = check(Desk(verifier, db), RESIGNED, STEPPED, "The northern dam broke on Friday.", "What a day!")
    assert made[0].recorded is not None
    assert made[1].recorded is not None
    ((found, cosine),) = db.near.of("", made[0].recorded.id)
    both = counting.inner.encode([RESIGNED, STEPPED])
    assert (found.id, found.claim) == (made[1].recorded.id, STEPPED)
    assert cosine == pytest.approx(float(both[0] @ both[1]), abs=1e-5)
    assert len(counting.asked) == len(set(counting.asked)), "a claim was read twice"
    assert db.near.like("", both[0], f"{counting.name}@{counting.version}", 200, least=-1)[-1][0].label != (
        "not_checkable"
    )


def test_a_language_that_the_encoder_cannot_read_has_no_vector(db: Database, verifier: Verifier) -> None:
    chinese = "市长于星期一宣布辞职并离开了市政府。"
    (answer,) = check(Desk(verifier, db), chinese)
    assert answer.recorded is not None
    assert answer.verdict is not None
    assert answer.verdict.verdict != "not_checkable"
    assert db.near.like("", np.ones(384), f"{verifier._encoder.name}@{verifier._encoder.version}", least=-1) == []


def test_a_failing_encoder_costs_no_verdict(db: Database, verifier: Verifier, counting: Counting) -> None:
    class Late(Verifier):
        """Its encoder breaks once it has checked."""

        def check(self, *args: Any, **more: Any) -> Any:
            try:
                return super().check(*args, **more)
            finally:
                counting.broken = True

    with Late(load_settings(), offline=True, search=False, brief=True, encoder=counting) as late:
        (answer,) = check(Desk(late, db), RESIGNED)
    assert answer.error is None
    assert answer.recorded is not None
    assert db.near.of("", answer.recorded.id, least=-1) == []
    counting.broken = False
    check(Desk(verifier, db), RESIGNED, STEPPED, key="next")
    assert [one.claim for one, _ in db.near.of("", answer.recorded.id)] == [STEPPED]


def test_a_checker_without_an_encoder_keeps_no_vectors(db: Database) -> None:
    (answer,) = check(Desk(WordChecker(), db), RESIGNED)
    assert answer.recorded is not None
    assert db.near.of("", answer.recorded.id, least=-1) == []
