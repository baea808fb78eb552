"""The perspective corpus: what the language model says of labelled claims, made once and kept for training.

A gzipped file of JSON lines. The first is the recipe (model and version, prompts and versions); each other one a
claim: `text` (a digest of it, so that no claim is copied), `opinion` (P(real), P(fake), P(unknown) as the model
chose) and `explanation` (its words, or null where they only repeat the claim). Finished claims are appended some at a
time, so that a run that was killed goes on. What else a perspective is made of (stances, evidence summary, tone) costs
little and is made anew from the row.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighup.console import Advance
from weighup.errors import InvalidInput, JobFailed, ModelUnavailable
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel
from weighup.texts import clean, language
from weighup.train.labelled import Labelled
from weighup.verify.extraction import extract
from weighup.verify.prompts import prompt
from weighup.verify.writing import Written, opine_all

FORMAT = 1
AT_ONCE = 64
_SORTED = 16 * AT_ONCE  # texts that are put in order of length: a batch takes as long as its longest
_MOST_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Said:
    """What the model says of one claim."""

    opinion: tuple[float, float, float]
    explanation: str | None


@dataclass(frozen=True, slots=True)
class Perspectives:
    """A corpus as read. `recipe` says how it was made; `said` is by digest."""

    recipe: Mapping[str, Any]
    said: Mapping[str, Said]

    def of(self, text: str) -> Written | None:
        """What was said of a claim's text, as the pipeline takes it, or None."""
        found = self.said.get(digest(text))
        return None if found is None else Written(opinion=found.opinion, explanation=found.explanation)


def digest(text: str) -> str:
    """The name of a claim in the corpus: 24 hex digits of the SHA-256 of the text that is judged."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def judged_text(row: Labelled) -> str:
    """The text of a row that a check would judge."""
    return extract(clean(row.claim.text)).claim


def read_perspectives(path: Path) -> Perspectives:
    """Raises InvalidInput for a file that is no corpus; what a kill has left half-written at its end is passed over."""
    recipe, said, _ = _read(path)
    return Perspectives(recipe, said)


def make_perspectives(
    rows: Sequence[Labelled], out: Path, model: LanguageModel, *, folder: Path | None = None, advance: Advance
) -> Perspectives:
    """Ask `model` about every row's claim that `out` does not have yet, and append what it says, some at a time.

    Files are served in turn, so that a run that was stopped has some of each. Claims that the model does not read
    (of the built-in one: not English) are passed over. Raises InvalidInput if `out` was made by another recipe,
    JobFailed if it cannot be written or the model fails twenty times in a row.
    """
    recipe = _recipe(model, folder)
    said: dict[str, Said] = {}
    try:
        if out.exists():
            found, said, whole = _read(out)
            if {**found, "format": FORMAT} != {**recipe, "format": FORMAT}:
                raise InvalidInput(
                    f"{out}: was made by {found.get('model')} with prompts {found.get('prompts')}, now it would be "
                    f"{recipe['model']} with {recipe['prompts']}; name another file, or delete it"
                )
            with out.open("r+b") as file:
                file.truncate(whole)
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            _append(out, [recipe])
        texts = _wanted(rows, model.name, said)
        advance(len({judged_text(row) for row in rows}) - len(texts), note="done before")
        for part in _batches(texts):
            told = _ask(model, part, folder)
            _append(out, [{"text": digest(text), **_line(one)} for text, one in told.items()])
            said |= {digest(text): one for text, one in told.items()}
            advance(len(part), note=model.name)
        _repack(out, recipe, said)
    except OSError as error:
        raise JobFailed(f"{out}: cannot be written: {error.strerror or error}; run again to go on") from error
    return Perspectives(recipe, said)


def _recipe(model: LanguageModel, folder: Path | None) -> dict[str, Any]:
    versions = {name: prompt(name, "en", folder).version for name in ("judge", "explain")}
    return {"format": FORMAT, "model": f"{model.name} {model.version}", "prompts": versions}


def _wanted(rows: Sequence[Labelled], model: str, said: Mapping[str, Said]) -> list[str]:
    """Texts to ask about, each once, one of each file in turn."""
    by_file: dict[str, dict[str, None]] = {}
    for row in rows:
        text = judged_text(row)
        reads = language(text) in (("en", "mixed") if model == "smollm2" else ("en", "mixed", "zh"))
        if reads and digest(text) not in said:
            by_file.setdefault(row.file, {})[text] = None
    turns = sorted((place / len(texts), text) for texts in by_file.values() for place, text in enumerate(texts))
    return list(dict.fromkeys(text for _, text in turns))


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _SORTED):
        alike = sorted(texts[start : start + _SORTED], key=len)
        yield from (alike[i : i + AT_ONCE] for i in range(0, len(alike), AT_ONCE))


def _ask(model: LanguageModel, texts: Sequence[str], folder: Path | None) -> dict[str, Said]:
    found: dict[str, Said] = {}
    failed = 0
    for text, done in zip(texts, opine_all(model, texts, Meter(), folder), strict=True):
        if done.opinion is None:
            failed += 1
            if failed >= _MOST_FAILURES:
                raise done.failed or ModelUnavailable(f"{model.name}: gives no opinion")
            continue
        found[text] = Said(done.opinion, done.explanation)
    return found


def _line(said: Said) -> dict[str, Any]:
    return {"opinion": [round(p, 4) for p in said.opinion], "explanation": said.explanation}


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """One gzip member, on disk when this returns."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with path.open("ab") as file:
        file.write(gzip.compress(text.encode("utf-8"), 6, mtime=0))
        file.flush()
        os.fsync(file.fileno())


def _repack(path: Path, recipe: Mapping[str, Any], said: Mapping[str, Said]) -> None:
    """As one member, which is half the size."""
    beside = path.with_name(path.name + ".part")
    beside.unlink(missing_ok=True)
    _append(beside, [recipe, *({"text": name, **_line(one)} for name, one in sorted(said.items()))])
    beside.replace(path)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Said], int]:
    """Recipe, what was said, and how many bytes of the file are whole members."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
    whole, lines = 0, []
    for text, end in _members(data):
        lines += text.decode("utf-8", "replace").splitlines()
        whole = end
    try:
        recipe: dict[str, Any] = json.loads(lines[0])
        if recipe["format"] != FORMAT or not isinstance(recipe["model"], str):
            raise ValueError(f"format {recipe['format']}")
        said = {}
        for line in lines[1:]:
            row = json.loads(line)
            real, fake, unknown = (float(p) for p in row["opinion"])
            said[str(row["text"])] = Said((real, fake, unknown), row["explanation"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is not a perspective corpus ({error!r}); make one with `weighup train perspectives`"
        ) from error
    return recipe, said, whole


def _members(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole gzip member's content and where it ends; the first that is not whole ends it."""
    start = 0
    while start < len(data):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            text = unpacker.decompress(data[start:])
        except zlib.error:
            return
        if not unpacker.eof:
            return
        start = len(data) - len(unpacker.unused_data)
        yield text, start
