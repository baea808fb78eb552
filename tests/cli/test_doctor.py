"""`weighup doctor`: finds what is missing, says what to do, ends accordingly, and shows no secret."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

pytest.importorskip("sqlalchemy", reason="needs pip install 'weighup[serve]'")

_TESTS = Path(__file__).resolve().parents[1]
if str(_TESTS / "retrieve") not in sys.path:
    sys.path.append(str(_TESTS / "retrieve"))

from webserver import LoopbackServer, Response  # noqa: E402

from weighup import __version__  # noqa: E402
from weighup.cli import findings  # noqa: E402
from weighup.cli.doctor import doctor as command  # noqa: E402
from weighup.errors import InvalidInput  # noqa: E402
from weighup.models.catalogue import ASSETS  # noqa: E402
from weighup.serve.db import Database  # noqa: E402
from weighup.verify import weights  # noqa: E402

NATIVE = findings.NATIVE
SECRET = "hunter2-hunter2-hunter2"

Found = dict[str, dict[str, Any]]
Doctor = Callable[..., Found]


@pytest.fixture
def home(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without files of their own; the models where they are."""
    monkeypatch.setenv("XDG_DATA_HOME", str(clean_environment / "data"))
    monkeypatch.setenv("WEIGHUP_DATABASE", str(clean_environment / "serve.sqlite"))
    # Loading everything that has machine code takes seconds; one test does.
    monkeypatch.setattr(findings, "NATIVE", ("json",))
    return clean_environment


def call(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def doctor(home: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The findings by name, with these in the environment; `exits` is what it must end with."""

    def run(*arguments: str, exits: int = 0, **environment: str) -> Found:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            offline = () if "online" in arguments else ("--offline",)
            result = call("--json", *offline)
        assert result.exit_code == exits, result.output
        assert SECRET not in result.output
        told = json.loads(result.stdout)
        assert told["version"] == __version__
        assert told["ok"] is (exits == 0)
        found = {one["name"]: one for one in told["findings"]}
        assert all(one["remedy"] for one in found.values() if one["state"] == "missing")
        assert any(one["state"] == "missing" for one in found.values()) is (exits == 1)
        return found

    return run


def test_where_all_is_well_it_says_so_and_leaves_nothing_behind(
    models_ready: Path, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "NATIVE", NATIVE)
    found = doctor()
    for name in ("settings", "python", "sqlite", "libraries", "clock", "model language", "model encoder", "weights"):
        assert found[name]["state"] == "ok", found[name]
    assert "content, ease, calibration, stance" in found["weights"]["said"]
    assert "sha256 is right" in found["model language"]["said"]
    assert found["database"]["state"] == "note"
    assert found["database"]["remedy"].startswith("weighup db upgrade")
    assert list(home.iterdir()) == []
    shown = call("--offline")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == "everything that is needed is there"
    assert "→ weighup db upgrade" in shown.stdout


def test_models_that_are_absent_or_damaged(home: Path, doctor: Doctor) -> None:
    empty = doctor(exits=1, WEIGHUP_CACHE_DIR=str(home / "none"))
    assert "is not on this machine" in empty["model language"]["said"]
    assert empty["model encoder"]["remedy"] == "weighup models pull minilm --force"
    folder = home / "cache" / "models"
    folder.mkdir(parents=True)
    for asset in ASSETS:
        with (folder / asset.file).open("wb") as file:
            file.truncate(asset.size)  # right in size only
    damaged = doctor(exits=1, WEIGHUP_CACHE_DIR=str(home / "cache"))
    for name in ("model language", "model encoder"):
        assert "is damaged" in damaged[name]["said"]
    none = doctor(exits=1, WEIGHUP_CACHE_DIR=str(home / "cache"), WEIGHUP_MODELS__LANGUAGE="none")
    assert none["model language"]["state"] == "ok"


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("none.gguf", "none.gguf"),
        ("openai:gpt-x", "OPENAI_API_KEY"),
        ("nonsense", "is not known"),
    ],
)
def test_a_language_model_that_cannot_be_asked(
    models_ready: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, language: str, says: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = doctor(exits=1, WEIGHUP_MODELS__LANGUAGE=language)
    assert says in found["model language"]["said"]


def test_a_distant_language_model_is_not_asked(models_ready: Path, doctor: Doctor) -> None:
    found = doctor(WEIGHUP_MODELS__LANGUAGE="openai:gpt-x", OPENAI_API_KEY=SECRET)
    assert found["model language"]["said"] == "openai:gpt-x; not asked here"


def test_shipped_weights_that_are_damaged(
    models_ready: Path, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = home / "shipped"
    shutil.copytree(weights.SHIPPED, shipped, copy_function=shutil.copyfile)
    with (shipped / "content.npz").open("r+b") as file:
        file.seek(1_000)
        file.write(b"\0\1\2\3")
    (shipped / "calibration.npz").unlink()
    monkeypatch.setattr(weights, "SHIPPED", shipped)
    found = doctor(exits=1)
    assert "is not what its card says" in found["weights content"]["said"]
    assert "calibration.npz" in found["weights calibration"]["said"]
    assert "--force-reinstall" in found["weights content"]["remedy"]
    assert found["weights"]["said"] == "whole: ease, stance"


def test_weights_of_the_users_own(models_ready: Path, home: Path, doctor: Doctor) -> None:
    own = home / "own"
    own.mkdir()
    for name in ("content.json", "content.npz"):
        shutil.copyfile(weights.SHIPPED / name, own / name)
    assert "content (yours)" in doctor(WEIGHUP_VERIFY__WEIGHTS=str(own))["weights"]["said"]
    (own / "content.npz").write_bytes(b"cut off")
    other = home / "other"
    own.rename(other)
    found = doctor(exits=1, WEIGHUP_VERIFY__WEIGHTS=str(other))
    assert "weighup train" in found["weights content"]["remedy"]


def test_an_evidence_store(models_ready: Path, home: Path, doctor: Doctor) -> None:
    from weighup.retrieve.store import EvidenceStore
    from weighup.retrieve.types import Document

    path = home / "evidence.sqlite"
    assert doctor(WEIGHUP_RETRIEVE__STORE=str(path))["evidence store"]["state"] == "note"
    with EvidenceStore.open(path) as store:
        store.add([Document(text="The dam broke.", published=datetime(2024, 5, 3, tzinfo=UTC))])
    found = doctor(WEIGHUP_RETRIEVE__STORE=str(path))["evidence store"]
    assert found["state"] == "ok"
    assert "1 documents to 2024-05-03" in found["said"]
    path.write_bytes(b"no store " * 1_000)
    assert doctor(exits=1, WEIGHUP_RETRIEVE__STORE=str(path))["evidence store"]["state"] == "missing"


def test_settings_that_cannot_be_read_do_not_hide_the_rest(home: Path, doctor: Doctor) -> None:
    (home / "weighup.toml").write_text("[serve]\nprot = 1\n")
    found = doctor(exits=1)
    assert "serve.prot" in found["settings"]["said"]
    assert found["python"]["state"] == "ok"
    assert "weights" not in found
    with pytest.raises(InvalidInput, match="--config"):
        call("--config", "none.toml")
    (home / "mine.toml").write_text('log = "info"\n')
    result = call("--offline", "--config", "mine.toml")
    assert "from mine.toml" in result.stdout


def test_where_others_reach_it_a_key_is_needed(models_ready: Path, home: Path, doctor: Doctor) -> None:
    outside = {"WEIGHUP_SERVE__HOST": "0.0.0.0"}
    assert "without an API key" in doctor(exits=1, **outside)["server"]["said"]
    assert not (home / "serve.sqlite").exists()
    with Database.open(home / "serve.sqlite") as db:
        db.api_keys.create("old", expires_at=datetime.now(UTC) - timedelta(days=1))
        revoked, _ = db.api_keys.create("gone")
        db.api_keys.revoke([revoked.prefix])
        assert doctor(exits=1, **outside)["server"]["state"] == "missing"
        db.api_keys.create("soon over", expires_at=datetime.now(UTC) + timedelta(days=1))
        found = doctor(**outside)
        assert found["server"]["state"] == "ok"
        assert found["https"]["state"] == "note"
        assert "within a week" in found["keys"]["said"]
        _, text = db.api_keys.create("desk")
        found = doctor(**outside, WEIGHUP_SERVE__PUBLIC_URL="https://weighup.example")
        assert {"https", "keys"}.isdisjoint(found)
        assert text not in json.dumps(found)
    assert "from this machine only, with 2 API keys" in doctor()["server"]["said"]


def test_receivers_of_alerts(models_ready: Path, doctor: Doctor) -> None:
    hook = {"WEIGHUP_WATCH__WEBHOOK": f"https://hooks.example/{SECRET}"}
    assert "WATCH_WEBHOOK_SECRET" in doctor(exits=1, WATCH_WEBHOOK_SECRET="", **hook)["alerts"]["said"]
    found = doctor(WATCH_WEBHOOK_SECRET=SECRET, **hook)["alerts"]
    assert found["said"].startswith("go to webhook https://hooks.example:443")
    mail = {"WEIGHUP_WATCH__EMAIL_TO": '["desk@example.org"]', "WEIGHUP_WATCH__EMAIL_FROM": "weighup@example.org"}
    assert "watch.smtp" in doctor(exits=1, **mail)["alerts"]["said"]
    smtp = {"WEIGHUP_WATCH__SMTP": "smtps://user@mail.example.org", "WATCH_SMTP_PASSWORD": SECRET}
    assert "email desk@example.org" in doctor(**mail, **smtp)["alerts"]["said"]
    assert "nobody" in doctor(WEIGHUP_WATCH__CONSOLE="false")["alerts"]["said"]


def test_online_sources(models_ready: Path, doctor: Doctor) -> None:
    assert "not asked" in doctor()["network"]["said"]
    assert "no online source" in doctor(WEIGHUP_RETRIEVE__SOURCES="[]")["network"]["said"]
    assert "no source 'nosuch'" in doctor(exits=1, WEIGHUP_RETRIEVE__SOURCES='["nosuch"]')["network"]["said"]
    lacking = doctor(exits=1, WEIGHUP_RETRIEVE__SOURCES='["serper"]', SERPER_API_KEY="")
    assert "SERPER_API_KEY" in lacking["network"]["said"]
    with LoopbackServer({"/search": Response('{"results": []}', type="application/json")}) as server:
        here = {
            "WEIGHUP_RETRIEVE__SOURCES": '["searxng"]',
            "WEIGHUP_RETRIEVE__SEARXNG_URL": server.url,
            "WEIGHUP_RETRIEVE__ALLOW_LOOPBACK": "true",
        }
        assert doctor("online", **here)["network"]["said"] == "answered: searxng"
        server.routes["/search"] = Response("gone\x1b[31m", status=404)
        silent = doctor("online", **here)["network"]
    assert silent["state"] == "note"
    assert "no answer: searxng" in silent["said"]
    assert silent["said"].isprintable()


def test_folders_and_room(models_ready: Path, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    found = doctor(exits=1, XDG_DATA_HOME=str(home / "file"))
    assert "is a file" in found["data folder"]["said"]
    stores = {"WEIGHUP_RETRIEVE__STORE": str(home / "e.sqlite"), "XDG_DATA_HOME": str(home / "file")}
    assert "data folder" not in doctor(**stores)  # nothing is kept there
    monkeypatch.setattr(findings, "LITTLE", 10**18)
    assert "make room" in doctor()["temporary folder"]["remedy"]
    monkeypatch.setattr(findings, "TOO_LITTLE", 10**18)
    assert doctor(exits=1)["temporary folder"]["state"] == "missing"


def test_a_clock_that_stands_in_the_past(models_ready: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_RELEASED", datetime.now(UTC) + timedelta(days=1))
    assert "set the clock" in doctor(exits=1)["clock"]["remedy"]


def test_libraries_that_are_absent_or_do_not_load(
    models_ready: Path, home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "crashing.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (home / "failing.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(home))
    for name, says in (("crashing", "it crashes (signal 4)"), ("failing", "libgomp.so.1"), ("absent_one", "No module")):
        monkeypatch.setattr(findings, "NATIVE", ("json", name))
        found = doctor(exits=1)["libraries"]
        assert found["said"].startswith(f"{name} cannot be loaded: ")
        assert says in found["said"]
    real = findings.requirements()
    assert {"", "serve", "ray", "postgres", "train"} <= set(real)
    monkeypatch.setattr(
        findings, "requirements", lambda: {"": ["numpy", "no-such-thing"], "ray": ["numpy", "nor-this"]}
    )
    found = doctor(exits=1)
    assert found["libraries"]["said"] == "not installed: no-such-thing"
    assert "not installed whole: nor-this missing" in found["extra ray"]["said"]
    assert found["extra ray"]["state"] == "note"


def test_what_cannot_be_looked_at_is_a_finding(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(findings, "clock", fails)
    found = doctor(exits=1)["clock"]
    assert found["said"] == "could not be looked at: RuntimeError"
