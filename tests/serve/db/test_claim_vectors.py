"""Vectors of claims: kept with verdicts, searched alike with and without pgvector, each tenant's for itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from db_samples import NOON, check, later
from numpy.typing import NDArray
from sqlalchemy import text

from weighup.errors import InvalidInput
from weighup.serve.db import Database, claim_vectors
from weighup.serve.db import near as near_module
from weighup.serve.db.claim_vectors import DIMENSION, ClaimVector, add_index, has_index, has_near, unit
from weighup.serve.db.records import Check

MINE = "minilm@1"
KINDS = ("sqlite", "postgresql", "pgvector")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes databases with nothing in them, of all three kinds."""
    made = 0

    def make() -> str:
        nonlocal made
        made += 1
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / f'serve{made}.sqlite'}"
        cluster = request.getfixturevalue("cluster" if kind == "postgresql" else "vector_cluster")
        return str(cluster.url(cluster.emptied(made)))

    return make


def around(places: int, dimension: int = DIMENSION, cosines: tuple[float, float] = (0.97, -0.2)) -> NDArray[np.float32]:
    """Unit vectors [places, dimension]; those after the first have evenly spaced cosines to it, in no order."""
    numbers = np.random.default_rng(places)
    first, *others = numbers.standard_normal((places, dimension))
    first /= np.linalg.norm(first)
    wanted = numbers.permutation(np.linspace(*cosines, places - 1))
    made = [first]
    for other, cosine in zip(others, wanted, strict=True):
        aside = other - (other @ first) * first
        made.append(cosine * first + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside))
    return np.stack(made).astype(np.float32)


def vectored(claim: str, vector: NDArray[np.float32], encoder: str = MINE, **more: object) -> Check:
    return check(claim, vector=ClaimVector.of(encoder, vector), **more)  # type: ignore[arg-type]


def keep(
    db: Database, vectors: NDArray[np.float32], tenant: str = "t", encoder: str = MINE, key: str = "a"
) -> list[uuid.UUID]:
    checks = [
        vectored(f"Claim {n}.", one, encoder, tenant=tenant, at=later(minutes=n), key=key)
        for n, one in enumerate(vectors)
    ]
    return [one.id for one in db.verdicts.record(checks)]


def told(found: list[tuple[object, float]]) -> list[tuple[uuid.UUID, float]]:
    return [(one.id, cosine) for one, cosine in found]  # type: ignore[attr-defined]


def test_only_pgvector_has_the_indexed_column(db: Database, kind: str) -> None:
    if kind == "sqlite":
        return
    with db._sessions.reading() as session:
        assert has_near(session) is (kind == "pgvector")
        assert has_index(session) is (kind == "pgvector")


def test_the_nearest_come_first_with_their_cosines(db: Database) -> None:
    vectors = around(300)
    ids = keep(db, vectors)
    cosines = vectors[1:].astype(np.float64) @ vectors[0].astype(np.float64)
    best = np.argsort(-cosines)[:20]
    assert cosines[best[-1]] > 0.6
    found = told(db.near.like("t", vectors[0], MINE, 20, not_id=ids[0]))
    assert [id for id, _ in found] == [ids[1 + n] for n in best]
    assert np.allclose([cosine for _, cosine in found], cosines[best], atol=1e-5)
    assert told(db.near.of("t", ids[0], 20)) == found
    assert db.near.like("t", 7 * vectors[0], MINE, 1)[0][1] == pytest.approx(1, abs=1e-5)


def test_what_is_less_like_than_asked_for_is_left_out(db: Database) -> None:
    vectors = around(60)
    ids = keep(db, vectors)
    cosines = vectors[1:].astype(np.float64) @ vectors[0].astype(np.float64)
    for least in (0.3, 0.6, 0.9):
        found = told(db.near.of("t", ids[0], 200, least=least))
        assert {id for id, _ in found} == {ids[1 + n] for n in np.flatnonzero(cosines >= least)}
        assert 0 < len(found) < 59


def test_equals_stand_by_time_the_newest_first(db: Database) -> None:
    ids = keep(db, np.repeat(around(2)[:1], 4, axis=0))
    assert [id for id, _ in told(db.near.of("t", ids[1]))] == [ids[3], ids[2], ids[0]]


def test_another_tenants_are_never_found_though_they_are_nearer(db: Database) -> None:
    asked, *others = around(50, cosines=(0.99, 0.9))
    _, *mine = around(4, cosines=(0.8, 0.7))
    keep(db, np.stack([asked, *others]), tenant="other")
    ids = keep(db, np.stack([asked, *mine]))
    assert {id for id, _ in told(db.near.like("t", asked, MINE, 200, least=-1))} == set(ids)
    assert {id for id, _ in told(db.near.of("t", ids[0], 200, least=-1))} == set(ids[1:])
    (alone,) = keep(db, asked[None], tenant="third")
    assert db.near.of("third", alone) == []
    assert db.near.of("t", alone) == []
    assert db.near.like("nobody", asked, MINE) == []


def test_an_index_crowded_with_another_tenants_claims_still_gives_ones_own(vector_cluster: Any) -> None:
    """The planner is made to ask the index, which lists the nearest of all tenants: the other's 150."""
    url = vector_cluster.url(vector_cluster.new())
    vectors = around(154, cosines=(0.99, 0.7))
    asked, far = vectors[0], np.argsort(vectors @ vectors[0])[:3]
    with Database.open(f"{url}&options=-c%20enable_sort%3Doff") as db:
        keep(db, np.delete(vectors, [0, *far], axis=0), tenant="other")
        keep(db, vectors[far])
        with db._sessions.reading() as session:
            point = f"[{','.join(map(str, asked))}]"
            listed = text(
                "SELECT verdict_id FROM claim_vector WHERE tenant = 't' AND encoder = :encoder AND near IS NOT NULL"
                " ORDER BY near <=> CAST(:point AS vector(384)) LIMIT 3"
            )
            assert session.scalars(listed, {"encoder": MINE, "point": point}).all() == []
        found = told(db.near.like("t", asked, MINE, 3))
    assert [cosine for _, cosine in found] == pytest.approx(sorted(vectors[far] @ asked, reverse=True), abs=1e-5)


def test_a_vector_of_another_encoder_is_never_compared(db: Database) -> None:
    vectors = around(3)
    ids = keep(db, vectors[:1])
    db.verdicts.record([vectored("Other.", vectors[0], "minilm@2", tenant="t")])
    db.verdicts.record([vectored("Short.", vectors[0][:100], "short@1", tenant="t")])
    assert db.near.of("t", ids[0]) == []
    assert [one.claim for one, _ in db.near.like("t", vectors[0], "minilm@2")] == ["Other."]
    assert [one.claim for one, _ in db.near.like("t", vectors[0][:100], "short@1")] == ["Short."]
    assert db.near.like("t", vectors[0][:50], "short@1") == []


def test_a_claim_checked_again_keeps_its_vector_until_another_encoder_reads_it(db: Database) -> None:
    vectors = around(3)
    (one,) = db.verdicts.record([vectored("It rained.", vectors[0], tenant="t", key="a")])
    db.verdicts.record([vectored("It rained.", vectors[1], tenant="t", key="b")])
    db.verdicts.record([check("It rained.", tenant="t", key="c")])
    assert told(db.near.like("t", vectors[0], MINE))[0][0] == one.id
    db.verdicts.record([vectored("It rained.", vectors[2], "minilm@2", tenant="t", key="d")])
    assert db.near.like("t", vectors[0], MINE) == []
    ((id, cosine),) = told(db.near.like("t", vectors[2], "minilm@2"))
    assert (id, round(cosine, 5)) == (one.id, 1.0)


def test_two_checks_of_one_claim_in_one_batch_keep_one_vector(db: Database) -> None:
    vector = around(2)[0]
    two = [vectored("It rained.", vector, tenant="t", key=key) for key in "ab"]
    assert len({one.id for one in db.verdicts.record(two)}) == 1
    assert len(db.near.like("t", vector, MINE)) == 1


def test_vectors_go_with_their_verdicts(db: Database) -> None:
    vectors = around(2)
    keep(db, vectors)
    assert db.retention.prune(30, now=NOON + timedelta(days=60)).counts["verdict"] == 2
    with db._sessions.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM claim_vector")) == 0
    assert db.near.like("t", vectors[0], MINE) == []


def test_verdicts_come_in_from_a_file_without_vectors(db: Database, new_url: Callable[[], str], tmp_path: Path) -> None:
    ids = keep(db, around(2))
    assert db.transfer.export("t", tmp_path / "all.jsonl") == 2
    with Database.open(new_url()) as other:
        assert other.transfer.import_file("t", tmp_path / "all.jsonl").verdicts_added == 2
        assert other.near.of("t", ids[0]) == []
        keep(other, around(2), key="next")
        assert other.near.of("t", ids[0], least=-1)[0][0].id == ids[1]


def test_what_cannot_be_asked_is_refused(db: Database) -> None:
    vector = around(2)[0]
    for limit in (0, 201):
        with pytest.raises(InvalidInput, match="limit"):
            db.near.like("t", vector, MINE, limit)
    for bad in (np.zeros(DIMENSION), np.full(DIMENSION, np.nan)):
        with pytest.raises(InvalidInput, match="no direction"):
            db.near.like("t", bad, MINE)
        assert ClaimVector.of(MINE, bad) is None
        assert unit(bad) is None


def test_reading_in_blocks_finds_the_same_and_stops_at_the_newest(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = around(50)
    ids = keep(db, vectors)
    whole = told(near_module.Near(db._sessions).like("t", vectors[0], MINE, 50))
    monkeypatch.setattr(near_module, "has_index", lambda _: False)
    monkeypatch.setattr(near_module, "_BLOCK", 7)
    blocks = told(db.near.like("t", vectors[0], MINE, 50))
    assert [id for id, _ in blocks] == [id for id, _ in whole]
    assert np.allclose([c for _, c in blocks], [c for _, c in whole], atol=1e-5)
    monkeypatch.setattr(near_module, "NEWEST", 10)
    assert {id for id, _ in told(db.near.like("t", vectors[0], MINE, 50, least=-1))} == set(ids[-10:])


def test_an_extension_that_comes_later_is_filled_and_one_that_goes_is_missed_by_nobody(
    vector_cluster: Any,
) -> None:
    url, vectors = vector_cluster.url(vector_cluster.new()), around(40)
    with Database.open(url) as db:
        ids = keep(db, vectors)
        keep(db, around(5, 100), tenant="short", encoder="short@1")
        before = told(db.near.of("t", ids[0], 10))
        with db._sessions.writing() as session:
            session.execute(text("DROP EXTENSION vector CASCADE"))
        with db._sessions.reading() as session:
            assert not has_near(session)
        without = told(db.near.of("t", ids[0], 10))
        db.verdicts.record([vectored("Between.", vectors[0], tenant="t")])
        with Database.open(url):
            pass
        with db._sessions.reading() as session:
            assert has_near(session)
            filled = "SELECT count(*), count(near) FROM claim_vector"
            assert tuple(session.execute(text(filled)).one()) == (46, 41)
            indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'claim_vector' AND indexdef LIKE '%hnsw%'"
            assert len(session.scalars(text(indexes)).all()) == 1
        db.verdicts.record([vectored("After.", vectors[0], tenant="t")])
        after = db.near.of("t", ids[0], 12)
    assert {one.claim for one, _ in after[:2]} == {"Between.", "After."}
    for found in (without, told(after[2:])):
        assert [id for id, _ in found] == [id for id, _ in before]
        assert np.allclose([c for _, c in found], [c for _, c in before], atol=1e-5)


def test_adding_the_index_goes_on_where_it_was_interrupted_and_one_process_does_it(vector_cluster: Any) -> None:
    url, vectors = vector_cluster.url(vector_cluster.new()), around(30)
    with Database.open(url) as db, Database.open(url) as other:
        ids = keep(db, vectors)
        before = told(db.near.of("t", ids[0], 10))
        with db._sessions.writing() as session:
            session.execute(text("DROP INDEX ix_claim_vector_near"))
            session.execute(
                text("UPDATE claim_vector SET near = NULL WHERE verdict_id = ANY(:ids)"), {"ids": ids[10:20]}
            )
        assert [id for id, _ in told(db.near.of("t", ids[0], 10))] == [id for id, _ in before]
        with other._sessions.engine.connect() as holder:
            holder.execute(text("SELECT pg_advisory_lock(:key)"), {"key": claim_vectors._LOCK})
            add_index(db._sessions.engine)  # neither waits nor does it twice
            assert not has_index(holder)
            holder.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": claim_vectors._LOCK})
        add_index(db._sessions.engine)
        with db._sessions.reading() as session:
            assert has_index(session)
            assert session.scalar(text("SELECT count(*) FROM claim_vector WHERE near IS NULL")) == 0
        assert np.allclose([c for _, c in told(db.near.of("t", ids[0], 10))], [c for _, c in before], atol=1e-5)


def test_who_may_not_add_the_extension_does_without(vector_cluster: Any) -> None:
    name = vector_cluster.new()
    vector_cluster.run("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    vector_cluster.run(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO plain")
    vector_cluster.run("GRANT CREATE, USAGE ON SCHEMA public TO plain", database=name)
    vectors = around(5)
    with Database.open(f"postgresql://plain:plain@/{name}?host={vector_cluster.folder}") as db:
        ids = keep(db, vectors)
        with db._sessions.reading() as session:
            assert not has_near(session)
        assert len(db.near.of("t", ids[0], least=-1)) == 4


def test_the_index_is_asked(vector_cluster: Any) -> None:
    with Database.open(vector_cluster.url(vector_cluster.new())) as db:
        keep(db, around(40))
        with db._sessions.reading() as session:
            session.execute(text("SET LOCAL enable_seqscan = off"))
            session.execute(text("SET LOCAL enable_sort = off"))
            point = f"[{','.join(['0.05'] * DIMENSION)}]"
            plan = session.scalars(
                text(
                    "EXPLAIN SELECT verdict_id, near <=> CAST(:point AS vector(384)) AS distance FROM claim_vector"
                    " WHERE tenant = 't' AND encoder = 'minilm@1' AND near IS NOT NULL"
                    " ORDER BY near <=> CAST(:point AS vector(384)) LIMIT 5"
                ),
                {"point": point},
            ).all()
    assert any("ix_claim_vector_near" in line for line in plan), plan
