"""The corpus: documents stay in one split, windows are what they say, and the five domains come from a data folder."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.corpus import DOMAINS, SPLITS, corpus_of, five_domains  # noqa: E402

SIZES = {"train": 5_000, "valid": 1_200, "test": 1_200}


def texts(word, count=900):
    return [f"<{word} {n}: {'abc'[n % 3] * (n % 17)}>" for n in range(count)]


@pytest.fixture(scope="module")
def corpus():
    return corpus_of({"one": texts("one"), "two": iter(texts("two"))}, sizes=SIZES)


def documents(corpus, domain, split):
    # The last one may be cut.
    return set(bytes(corpus.streams[domain, split]).split(b"\n\n")[:-1])


def test_a_document_is_in_one_split_and_said_once():
    doubled = corpus_of({"one": texts("one") + texts("one")}, sizes=SIZES)
    parts = [documents(doubled, "one", split) for split in SPLITS]
    assert sum(len(one) for one in parts) == len(set().union(*parts))
    for split, some in zip(SPLITS, parts, strict=True):
        told = bytes(doubled.streams["one", split])
        assert all(told.count(one) == 1 for one in some if some)
        assert some <= {one.encode() for one in texts("one")}


def test_splits_do_not_depend_on_the_order_of_documents(corpus):
    for split in SPLITS:
        again = corpus_of({"one": texts("one")[::-1]}, sizes=dict.fromkeys(SPLITS, 100_000))
        forth = corpus_of({"one": texts("one")}, sizes=dict.fromkeys(SPLITS, 100_000))
        ours, theirs = (set(bytes(one.streams["one", split]).split(b"\n\n")) for one in (again, forth))
        assert ours == theirs


def test_sizes_are_the_most_and_all_is_reached(corpus):
    assert corpus.domains == ("one", "two")
    assert all(len(corpus.streams[domain, split]) == SIZES[split] for domain in corpus.domains for split in SPLITS)


def test_windows_at_random_are_of_their_domain_and_targets_come_next(corpus):
    batch = corpus.batch(np.random.default_rng(0), 40, 20)
    assert batch.tokens.shape == batch.targets.shape == (40, 20)
    assert np.array_equal(batch.tokens[:, 1:], batch.targets[:, :-1])
    assert set(batch.domains.tolist()) == {0, 1}
    for tokens, domain in zip(batch.tokens, batch.domains, strict=True):
        assert bytes(tokens.astype(np.uint8)) in bytes(corpus.streams[corpus.domains[domain], "train"])
    again = corpus.batch(np.random.default_rng(0), 40, 20)
    assert np.array_equal(batch.tokens, again.tokens)
    alone = corpus.batch(np.random.default_rng(0), 5, 20, "valid", domain="two")
    assert alone.domains.tolist() == [1] * 5


def test_even_windows_are_the_same_every_time_and_cover_the_split(corpus):
    first, second = (list(corpus.batches("test", 4, 30, windows=10)) for _ in range(2))
    assert [len(one.tokens) for one in first] == [4, 4, 2, 4, 4, 2]
    assert all(np.array_equal(a.tokens, b.tokens) for a, b in zip(first, second, strict=True))
    stream = corpus.streams["one", "test"]
    assert np.array_equal(first[0].tokens[0], stream[:30])
    assert first[2].targets[-1][-1] == stream[-1]
    assert len(list(corpus.batches("test", 4, 30, windows=10, domain="two"))) == 3
    # No more windows than fit beside each other.
    assert sum(len(one.tokens) for one in corpus.batches("test", 64, 600, domain="one")) == 1


def test_fingerprints_tell_content(corpus):
    again = corpus_of({"one": texts("one"), "two": texts("two")}, sizes=SIZES, name="other name")
    assert again.fingerprint == corpus.fingerprint
    assert corpus.only("one").fingerprint != corpus.fingerprint
    assert corpus.only("one").fingerprint != corpus.only("two").fingerprint
    assert corpus.only("two").domains == ("two",)


def test_text_that_is_no_unicode_and_empty_text_are_taken_as_they_can_be():
    odd = [*texts("odd"), "", "   ", "\ud800 lone surrogate"]
    made = corpus_of({"odd": odd}, sizes=dict.fromkeys(SPLITS, 50_000))
    whole = b"\n\n".join(bytes(made.streams["odd", split]) for split in SPLITS)
    assert b"? lone surrogate" in whole
    assert b"\n\n\n" not in whole


def test_too_little_text_is_named():
    with pytest.raises(InvalidInput, match=r"small has \d+ bytes for (train|valid|test); 1,000 or more"):
        corpus_of({"big": texts("big"), "small": texts("small", 20)}, sizes=SIZES)
    with pytest.raises(InvalidInput, match="none has 0 bytes for train"):
        corpus_of({"none": []}, sizes=SIZES)


def test_five_domains_are_read_from_the_folder(tmp_path):
    rows = {
        "news/liar/train.jsonl.gz": [{"text": one} for one in texts("claim")],
        "news/ced_weibo/train.jsonl.gz": [{"text": one + "微博"} for one in texts("post")],
        "selection/screening/a.jsonl.gz": [{"abstract": one} for one in texts("study", 500)],
        "selection/screening/b.jsonl.gz": [{"abstract": one} for one in texts("trial", 500)]
        + [{"title": "no abstract"}],
        "selection/routing_mmlu_gsm8k.jsonl.gz": [{"task": "gsm8k", "prompt": one} for one in texts("sum")]
        + [{"task": "mmlu", "prompt": "SECRET"}],
        "selection/cranfield_docs.jsonl.gz": [{"text": one} for one in texts("wing")],
    }
    for name, some in rows.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in some)
    sizes = {"train": 20_000, "valid": 1_200, "test": 1_200}
    corpus = five_domains(tmp_path, sizes=sizes)
    assert corpus.domains == DOMAINS
    medicine = bytes(corpus.streams["medicine", "train"])
    assert b"<study" in medicine
    assert b"<trial" in medicine
    assert "微博".encode() in bytes(corpus.streams["microblogs", "train"])
    assert b"SECRET" not in bytes(corpus.streams["maths", "train"])
    (tmp_path / "selection/cranfield_docs.jsonl.gz").unlink()
    with pytest.raises(InvalidInput, match=r"cranfield_docs\.jsonl\.gz is not there; set WEIGHUP_DATA"):
        five_domains(tmp_path, sizes=sizes)


def test_the_real_folder_gives_five_domains(tests_data):
    corpus = five_domains(tests_data, sizes=dict.fromkeys(SPLITS, 2_000))
    assert corpus.domains == DOMAINS
    assert all(len(one) == 2_000 for one in corpus.streams.values())
