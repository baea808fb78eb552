"""`weighup moe`: train, trace, report, compare, steer, shrink, replay, on a small model and one's own texts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from typer.testing import CliRunner, Result  # noqa: E402

from weighup.cli.main import app  # noqa: E402
from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.export import load_any  # noqa: E402
from weighup.moe.trace import RoutingTrace  # noqa: E402

SIZES = ("width=16", "layers=2", "heads=2", "hidden=16", "n_experts=4", "context=16")
WORDS = {
    "sums": "one two three four plus minus is 1 2 3 4 5 6".split(),
    "verse": "the sea a wind blue over under".split(),
}


def weighup(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["moe", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    chance = random.Random(0)
    rows = [
        json.dumps({"domain": domain, "text": " ".join(chance.choices(words, k=40))})
        for domain, words in WORDS.items()
        for _ in range(150)
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "small"
    sizes = [part for size in SIZES for part in ("--size", size)]
    done = weighup("train", "--out", out, "--data", texts, *sizes, "--steps", 12, "--batch", 8, "--threads", 1)
    assert "test loss" in done.stdout
    return out


@pytest.fixture(scope="module")
def trace(model: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("traces") / "trace.parquet"
    done = weighup("trace", model, "--data", texts, "--out", out, "--windows", 6, "--length", 16)
    assert "co-activation" in done.stdout
    return out


def test_a_checkpoint_tells_what_it_was_trained_on_and_leaves_no_state(model: Path) -> None:
    card = json.loads((model / "card.json").read_text())
    assert card["data"]["domains"] == ["sums", "verse"]
    assert set(card["test_loss"]) == {"sums", "verse"}
    assert {path.name for path in model.iterdir()} == {"card.json", "model.safetensors"}


def test_a_trace_holds_every_token_with_its_domain(trace: Path) -> None:
    told = RoutingTrace.read(trace)
    assert told.layers == 2
    assert told.names == ("sums", "verse")
    assert len(told) == 2 * 6 * 16


def test_the_report_comes_in_every_form(trace: Path, tmp_path: Path) -> None:
    rows = json.loads(weighup("report", trace, "--format", "json").stdout)
    assert [row["layer"] for row in rows] == [0, 1]
    local = json.loads(weighup("report", trace, "--segment", 4, "--segment", 8, "--format", "json").stdout)
    assert [row["m"] for row in local] == [4, 8]
    assert all(row["SRP"] <= row["SCH 2k"] for row in local)
    changed = json.loads(weighup("report", trace, "--before", trace, "--format", "json").stdout)
    assert {row["changed since"] for row in changed} == {"0.0%"}
    for picture in ("load", "domains", "together"):
        weighup("report", trace, "--picture", picture, "--out", tmp_path / f"{picture}.svg")
        assert (tmp_path / f"{picture}.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("command", "method"),
    [("prune", "premoe"), ("prune", "magnitude"), ("merge", "mc-smoe"), ("merge", "average"), ("compress", "heapr")],
)
def test_what_is_made_smaller_loads_in_plain_transformers(
    model: Path, texts: Path, tmp_path: Path, command: str, method: str
) -> None:
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "smaller"
    done = weighup(command, model, "--method", method, "--ratio", 0.5, "--data", texts, "--windows", 20, "--out", out)
    assert "loss after" in done.stdout
    made = transformers.AutoModelForCausalLM.from_pretrained(out)
    tokens = torch.randint(0, 256, (1, 10))
    assert torch.isfinite(made(input_ids=tokens).logits).all()


def test_compressed_experts_are_written_as_a_state_of_their_own(model: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "smaller"
    given = ("--method", "compressed-experts", "--ratio", 0.5, "--data", texts, "--windows", 20, "--out", out)
    assert "fine-tune" in weighup("compress", model, *given).stdout
    assert [path.name for path in out.iterdir()] == ["compressed.pt"]


@pytest.mark.parametrize("by", ["none", "scmoe", "des", "c3po", "rewire"])
def test_it_goes_on_from_a_text_under_every_control(model: Path, texts: Path, by: str) -> None:
    given = ("--text", "one two three four ", "--length", 4, "--control", by, "--data", texts)
    done = weighup("generate", model, *given)
    assert "by itself: " in done.stdout
    assert (f"{by}: " in done.stdout) == (by != "none")


def test_a_trace_is_replayed_through_caches(trace: Path, tmp_path: Path) -> None:
    rows = json.loads(weighup("offload-sim", trace, "--format", "json").stdout)
    best = {row["capacity"]: row["hit rate"] for row in rows if row["policy"] == "belady"}
    assert all(row["hit rate"] <= best[row["capacity"]] + 1e-9 for row in rows)
    assert set(best) == {2, 3, 4}
    weighup("offload-sim", trace, "--policy", "lru", "--out", tmp_path / "hits.svg")
    assert "<svg" in (tmp_path / "hits.svg").read_text()


def test_routers_are_compared_alike(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path))
    sizes = [part for size in SIZES for part in ("--size", size)]
    given = ("--routers", "topk,topp,top1", "--data", texts, *sizes, "--steps", 3, "--seeds", "0,1", "--format", "json")
    rows = json.loads(weighup("compare", *given).stdout)
    assert [row["router"] for row in rows] == ["topk", "topp", "top1"]
    assert (rows[0]["experts a token"], rows[2]["experts a token"]) == (2.0, 1.0)
    assert all(row["s to train"] >= 0 for row in rows)
    again = json.loads(weighup("compare", *given).stdout)
    assert again == rows


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("trace", "{model}", "--out", "x.txt"), "must end with .parquet"),
        (("report", "{nothing}"), "is no trace"),
        (("report", "{trace}", "--picture", "cake"), "load, domains or together"),
        (("train", "--out", "{nothing}", "--size", "colour=3"), "whole numbers of width"),
        (("train", "--out", "{nothing}", "--size", "width"), "name=value"),
        (("train", "--out", "{nothing}", "--data", "{texts}", "--router", "magic"), "'magic' is not known"),
        (("train", "--out", "{nothing}", "--data", "{texts}", "--option", "colour=1"), "router topk"),
        (("compare", "--routers", "magic", "--data", "{texts}"), "routers: magic"),
        (("compare", "--routers", "top0", "--data", "{texts}"), "k of 1 or more"),
        (("compare", "--routers", "top9", "--data", "{texts}"), "k: between 1 and the 8 experts"),
        (("compare", "--seeds", "x", "--data", "{texts}"), "--seeds x"),
        (("generate", "{model}", "--text", "a", "--control", "magic"), "is not known"),
        (("generate", "{model}", "--text", ""), "is empty"),
        (("generate", "{model}", "--text", "a", "--option", "magic=1"), "magic"),
        (("generate", "{nothing}", "--text", "a"), "is no folder of a checkpoint"),
        (("prune", "{model}", "--method", "magic", "--out", "{nothing}"), "is one of"),
        (("prune", "{model}", "--ratio", 1.5, "--data", "{texts}", "--out", "{nothing}"), "between 0 and 1"),
        (("prune", "{model}", "--domain", "magic", "--data", "{texts}", "--out", "{nothing}"), "no such domain"),
        (("offload-sim", "{trace}", "--policy", "magic"), "magic"),
        (("offload-sim", "{trace}", "--capacity", 1), "capacity"),
        (("offload-sim", "{trace}", "--bandwidth", 0), "bandwidth"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: Path, trace: Path, texts: Path, tmp_path: Path, arguments: tuple[object, ...], told: str
) -> None:
    places = {"{model}": model, "{trace}": trace, "{texts}": texts, "{nothing}": tmp_path / "nothing"}
    with pytest.raises(InvalidInput, match=told):
        weighup(*(places.get(str(one), one) for one in arguments))
    assert not (tmp_path / "nothing").exists() or not any((tmp_path / "nothing").iterdir())


def test_a_row_without_a_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": "a"}\n{"domain": "b"}\n')
    with pytest.raises(InvalidInput, match="row 2"):
        weighup("train", "--out", tmp_path / "out", "--data", path)


def test_a_changed_checkpoint_is_refused(model: Path, tmp_path: Path) -> None:
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: -1 if path.suffix == ".safetensors" else None])
    with pytest.raises(InvalidInput, match="hash"):
        load_any(tmp_path)
