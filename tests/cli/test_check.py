"""`weighup check` at the door: flags that contradict each other, and input that cannot be read. No model is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from weighup.cli.batching import Stopped, _Teller
from weighup.cli.check import Ask, contradiction
from weighup.cli.checking import READ_LIMIT, decode, parse_budget, read_settings, write_whole
from weighup.errors import InvalidInput, SettingsError

BARE = Ask(
    text=None,
    file=None,
    url=None,
    input=None,
    output=None,
    format="text",
    out=None,
    date=None,
    source=None,
    lang=None,
    evidence=(),
    search=True,
    offline=False,
    brief=False,
    budget=None,
    model=None,
    sources=None,
    weights=None,
    config=None,
    overwrite=False,
    batch_size=None,
    explain=False,
    quiet=True,
)
ROWS: dict[str, Any] = {"input": Path("rows.jsonl"), "output": Path("out.jsonl"), "format": "jsonl"}


def weighup(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHUP_")}
    env |= {"XDG_CONFIG_HOME": str(folder / "config"), "WEIGHUP_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", "from weighup.cli.main import main; main()", *arguments]
    done = subprocess.run(command, input=stdin, cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "nothing to check"),
        ({"text": "a", "file": Path("b")}, "TEXT and --file were both given"),
        ({"text": "a", "url": "https://b.example"}, "TEXT and --url were both given"),
        ({"file": Path("a"), **ROWS}, "--file and --input were both given"),
        ({"text": "https://a.example/x"}, "use --url https://a.example/x"),
        ({"text": "a", "format": "yaml"}, "formats are text, json"),
        ({"url": "https://a.example", "offline": True}, "--url needs the network"),
        ({"url": "https://a.example", "source": "b"}, "--url names the source itself"),
        ({"text": "a", "offline": True, "sources": "wikipedia"}, "--sources are asked online"),
        ({"text": "a", "search": False, "sources": "wikipedia"}, "--no-search forbids"),
        ({"text": "a", "output": Path("b")}, "--output only goes with --input"),
        ({"text": "a", "overwrite": True}, "--overwrite only goes with --input"),
        ({"text": "a", "batch_size": 4}, "--batch-size only goes with --input"),
        ({"input": Path("rows.jsonl"), "format": "jsonl"}, "--input needs --output"),
        ({**ROWS, "date": "2024-01-01"}, "each row carries its own `date`"),
        ({**ROWS, "source": "a"}, "each row carries its own `source`"),
        ({**ROWS, "lang": "en"}, "each row carries its own `lang`"),
        ({**ROWS, "evidence": ("a",)}, "each row carries its own `evidence`"),
        ({**ROWS, "format": "text"}, "is for one claim"),
        ({**ROWS, "out": Path("r.html")}, "add --format html"),
        ({**ROWS, "explain": True}, "--explain goes with a report"),
    ],
)
def test_contradictory_flags_are_named(given: dict[str, Any], says: str) -> None:
    problem = contradiction(replace(BARE, **given), stdin_is_terminal=True)
    assert problem is not None
    assert says in problem


@pytest.mark.parametrize(
    "given",
    [
        {"text": "a"},
        {"file": Path("a"), "date": "2024-01-01", "evidence": ("b",)},
        {"url": "https://a.example", "explain": True},
        ROWS,
        {**ROWS, "format": "html", "out": Path("r.html"), "overwrite": True, "batch_size": 9},
        {"text": "a", "offline": True, "search": False},
    ],
)
def test_what_goes_together_is_let_through(given: dict[str, Any]) -> None:
    assert contradiction(replace(BARE, **given), stdin_is_terminal=True) is None


def test_standard_input_is_read_when_something_is_piped_in() -> None:
    assert contradiction(BARE, stdin_is_terminal=False) is None


def test_budgets_are_read() -> None:
    assert parse_budget("tokens=2000, seconds=1.5,usd=0") == {
        "budget_tokens": 2000,
        "budget_seconds": 1.5,
        "budget_usd": 0.0,
    }
    assert parse_budget("run_usd=5") == {"run_usd": 5.0}


@pytest.mark.parametrize(
    "text",
    "|,|tokens|tokens=|tokens=many|tokens=1.5|tokens=0|seconds=-1|seconds=inf|usd=nan|euros=3|tokens=1,tokens=2".split(
        "|"
    ),
)
def test_budgets_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--budget"):
        parse_budget(text)


def test_flags_stand_above_the_settings_file(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = clean_environment / "mine.toml"
    config.write_text('[verify]\nbudget_tokens = 7\npassages = 3\nweights = "theirs"\n[models]\nlanguage = "none"\n')
    monkeypatch.setenv("WEIGHUP_CONFIG", "")
    ask = replace(BARE, config=config, brief=True, budget="tokens=9", sources="Wikipedia, gdelt", model="embedded")
    assert read_settings(ask).verify.weights == Path("theirs")
    ask = replace(ask, weights=Path("mine"))
    settings = read_settings(ask)
    assert (settings.verify.brief, settings.verify.budget_tokens, settings.verify.passages) == (True, 9, 3)
    assert settings.verify.weights == Path("mine")
    assert settings.models.language == "embedded"
    assert settings.retrieve.sources == ("wikipedia", "gdelt")
    config.write_text("[verify]\npasages = 3\n")
    with pytest.raises(SettingsError, match="pasages"):
        read_settings(ask)
    with pytest.raises(InvalidInput, match="--config"):
        read_settings(replace(BARE, config=clean_environment / "absent.toml"))


def test_text_is_decoded_or_refused() -> None:
    assert decode("\ufeffcafé".encode(), "f") == "café"
    assert decode("水".encode("utf-16"), "f") == "水"
    for content, says in (
        (b"caf\xe9 ferm\xe9", "is not UTF-8 (byte 0xe9 at 4)"),
        (b"\x7fELF\x00\x00\x01", "is binary"),
        (b"%PDF-1.7 ...", "is a PDF"),
    ):
        with pytest.raises(InvalidInput) as caught:
            decode(content, "story.txt")
        assert says in str(caught.value)
        assert str(caught.value).startswith("story.txt: ")


def test_a_character_cut_by_the_reading_limit_is_no_error() -> None:
    content = ("a" * (READ_LIMIT - 1) + "水水").encode()[: READ_LIMIT + 1]
    assert len(decode(content, "f")) == READ_LIMIT - 1


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("before")

    def broken() -> Any:
        yield "half"
        raise OSError(28, "No space left on device")

    with pytest.raises(InvalidInput, match=r"report\.html: cannot be written: No space left"):
        write_whole(target, broken())
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
    write_whole(target, ("a", "b"))
    assert target.read_text() == "ab"
    with pytest.raises(InvalidInput, match="is a folder"):
        write_whole(tmp_path, ("a",))


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([0.0, 1.0, 21.0, 41.0, 45.0])
    teller = _Teller(quiet=False, clock=lambda: next(moments))
    for done in (8, 16, 24, 32):
        teller.report(done, done // 16)
    assert teller.done == 32
    assert capsys.readouterr().err == "weighup: 24 rows, 0.4 rows/s, 1 failed\n"


def test_a_stop_is_no_error_of_a_row() -> None:
    assert not isinstance(Stopped(15), Exception)


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (["check"], b"", "text: is empty"),
        (["check", ""], b"", "text: is empty"),
        (["check", " \n\t "], b"", "text: is empty"),
        (["check", "-"], b"\x00\x01\x02", "standard input: is binary"),
        (["check"], b"caf\xe9", "standard input: is not UTF-8"),
        (["check", "--file", "absent.txt"], b"", "absent.txt: cannot be read: No such file"),
        (["check", "A claim.", "--date", "2999-01-01"], b"", "is in the future"),
        (["check", "A claim.", "--date", "yesterday"], b"", "is not a date"),
        (["check", "A claim.", "--budget", "x"], b"", "--budget"),
        (["check", "A claim.", "--format", "xml"], b"", "--format 'xml'"),
        (["check", "A", "claim."], b"", "unexpected extra argument"),
        (["check", "A claim.", "--config", "absent.toml"], b"", "--config absent.toml is not a file"),
        (["check", "A claim.", "--weights", "absent"], b"", "absent: is not a folder; expected one with content"),
        (["check", "--url", "ftp://a.example/x"], b"", "is not an http(s) address"),
        (["check", "--url", "http://[::1"], b"", "is not an http(s) address"),
        (["check", "--input", "absent.jsonl", "--output", "o.jsonl"], b"", "there is no such file"),
        (["check", "--input", "rows.xlsx", "--output", "o.jsonl"], b"", "cannot tell what it holds"),
        (["check", "--input", "r.jsonl", "--output", "no/o.jsonl"], b"", "there is no folder no"),
        (["check", "--input", "r.jsonl", "--output", "o.html"], b"", "name a .jsonl file"),
        (["check", "--input", "r.jsonl", "--output", "r.jsonl"], b"", "is the input itself"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_message(
    tmp_path: Path, arguments: list[str], stdin: bytes, says: str
) -> None:
    (tmp_path / "r.jsonl").write_text('{"text": "A claim."}\n')
    done = weighup(tmp_path, *arguments, stdin=stdin)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr.decode()
    assert done.stdout == b""


def test_a_missing_model_is_asked_for_by_name(tmp_path: Path) -> None:
    done = weighup(tmp_path, "check", "The bridge was closed in May.", "--offline", "--brief")
    assert done.returncode == 2
    assert b"weighup models pull" in done.stderr


def test_a_batch_without_models_fails_as_a_whole_and_leaves_no_error_rows(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"text": "The bridge was closed in May."}\n')
    done = weighup(tmp_path, "check", "--input", "r.jsonl", "--output", "o.jsonl", "--offline", "--brief")
    assert done.returncode == 2
    assert b"weighup models pull" in done.stderr
    assert (tmp_path / "o.jsonl").read_bytes() == b""


def test_help_shows_examples(tmp_path: Path) -> None:
    done = weighup(tmp_path, "check", "--help")
    assert done.returncode == 0
    for example in (
        b'weighup check "Drinking bleach',
        b"--input rows.jsonl --output verdicts.jsonl",
        b"| weighup check",
    ):
        assert example in done.stdout


def test_nothing_heavy_is_imported_before_the_flags_are_read(tmp_path: Path) -> None:
    code = (
        "import sys, weighup.cli.check; "
        "print([m for m in ('numpy', 'pydantic', 'rich', 'httpx', 'onnxruntime', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout.decode().replace("'", '"')) == []


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command (`$W`) in a shell, for what only redirections can bring about."""
    env = os.environ | {"WEIGHUP_CACHE_DIR": str(folder / "cache"), "PY": sys.executable}
    line = line.replace("$W", '"$PY" -c "from weighup.cli.main import main; main()"')
    return subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, timeout=60, check=False)


def test_a_full_disk_under_standard_output_is_a_plain_message(tmp_path: Path) -> None:
    done = shell(tmp_path, "$W schema > /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"weighup: the output could not be written: No space left on device\n"


def test_closed_streams_are_no_surprise(tmp_path: Path) -> None:
    done = shell(tmp_path, "$W check - --quiet <&-")
    assert (done.returncode, b"standard input is closed" in done.stderr) == (2, True)
    assert shell(tmp_path, "$W schema >&-").returncode == 0
    assert shell(tmp_path, "$W check '' --offline 2>&-").returncode == 2


def test_messages_that_quote_a_file_hold_no_terminal_codes(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("\x1b[31mname,some other column without any codes in it\n")
    done = weighup(tmp_path, "check", "--input", "rows.csv", "--output", "o.jsonl", "--brief", "--offline")
    assert done.returncode == 2
    assert b"has no column `text`" in done.stderr
    assert b"\x1b" not in done.stderr
