"""What `weighup doctor` looks at: this machine, the models and weights, the stores. See `findings_served` for the rest.

An examination returns findings and raises nothing; it makes no file but one that is gone at once.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from weighup.models.catalogue import Asset
    from weighup.settings import Settings

log = logging.getLogger(__name__)

State = Literal["ok", "note", "missing"]
EXTRAS = {
    "serve": "weighup serve, watch, alerts, keys, db and mcp",
    "postgres": "a PostgreSQL database",
    "ray": "the engine ray, for many machines",
    "train": "weighup train",
}
NATIVE = ("numpy", "onnxruntime", "tokenizers", "faiss", "lxml.etree", "pyarrow", "xllamacpp")
"""Libraries with machine code, which may be installed and yet not run here."""
LITTLE, TOO_LITTLE = 1_000_000_000, 200_000_000
"""Bytes free on a disk."""
_RELEASED = datetime(2025, 1, 1, tzinfo=UTC)
_FIRST_SQLITE = (3, 35)  # RETURNING


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `missing`: needed and not there; `note`: worth knowing. `remedy`: what to do about it."""

    name: str
    state: State
    said: str
    remedy: str | None = None


def examine(*, offline: bool) -> list[Finding]:
    """Look at everything. Online sources are asked for one result each unless `offline`."""
    from weighup.cli.findings_served import alerts, database, network, serving

    settings, found = _settings()
    todo: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", python),
        ("libraries", libraries),
        ("clock", clock),
    ]
    if settings is not None:
        known = settings
        todo += [
            ("models", lambda: models(known)),
            ("weights", lambda: weights(known)),
            ("evidence", lambda: evidence(known)),
            ("disk", lambda: disk(known)),
            ("database", database),
            ("server", lambda: serving(known)),
            ("alerts", lambda: alerts(known)),
            ("network", lambda: network(known, offline)),
        ]
    for name, look in todo:
        found += _safely(name, look)
    return [Finding(f.name, f.state, plain(f.said), f.remedy and plain(f.remedy)) for f in found]


def plain(text: str) -> str:
    """One line without control characters: some of it comes from files and servers."""
    return "".join(c if c.isprintable() else " " for c in text)[:500]


def python() -> Iterator[Finding]:
    """The interpreter, and the SQLite in it."""
    bits = 64 if sys.maxsize > 2**32 else 32
    said = (
        f"{platform.python_version()}, {bits} bit, {platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    )
    if sys.version_info < (3, 11) or bits != 64:
        yield Finding("python", "missing", said, "install a 64-bit Python 3.11 or newer")
    else:
        yield Finding("python", "ok", said)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        works = sqlite3.sqlite_version_info >= _FIRST_SQLITE
    except sqlite3.Error:
        works = False
    finally:
        connection.close()
    remedy = "use a Python whose sqlite3 is 3.35 or newer and has FTS5, such as Debian's or python.org's"
    yield Finding("sqlite", "ok" if works else "missing", sqlite3.sqlite_version, None if works else remedy)


def libraries() -> Iterator[Finding]:
    """What must be installed, whether its machine code runs here, and the extras."""
    needed = requirements()
    if not needed:
        yield Finding("libraries", "note", "weighup runs from its source, so what it needs is not on record")
    absent = [name for name in needed.get("", []) if not _is_installed(name)]
    broken = [] if absent else list(_broken())
    if absent:
        yield Finding("libraries", "missing", f"not installed: {', '.join(absent)}", "pip install --upgrade weighup")
    elif broken:
        for name, why in broken:
            yield Finding(
                "libraries", "missing", f"{name} cannot be loaded: {why}", f"pip install --force-reinstall {name}"
            )
    elif needed:
        yield Finding("libraries", "ok", f"all {len(needed['']):,} installed; those with machine code run here")
    for extra, what in EXTRAS.items():
        names = needed.get(extra, [])
        lacking = [name for name in names if not _is_installed(name)]
        if names and not lacking:
            yield Finding(f"extra {extra}", "ok", f"installed ({what})")
        elif names:
            part = "" if len(lacking) == len(names) else f" whole: {', '.join(lacking)} missing"
            yield Finding(
                f"extra {extra}", "note", f"not installed{part} ({what})", f"pip install 'weighup[{extra}]', if wanted"
            )


def requirements() -> dict[str, list[str]]:
    """Names of the distributions that weighup needs, by extra ("" for always); empty if it is not installed."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("weighup") or []
    except PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if name is not None and name[0] != "weighup":
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def clock() -> Iterator[Finding]:
    """Whether this machine's clock can be right: dates decide which evidence counts."""
    now = datetime.now(UTC)
    said = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < _RELEASED:
        yield Finding(
            "clock", "missing", f"{said} is long past", "set the clock, best by NTP (timedatectl set-ntp true)"
        )
    else:
        yield Finding("clock", "ok", said)


def models(settings: Settings) -> Iterator[Finding]:
    """The models in use: there, whole, and such that they open."""
    from weighup.errors import WeighupError
    from weighup.models.catalogue import asset
    from weighup.models.open import encoder, language_model

    # Opened without the cache of replies, which would make a folder.
    quiet = settings.model_copy(update={"models": settings.models.model_copy(update={"cache": False})})
    for kind, named, embedded in (
        ("language", settings.models.language, "smollm2"),
        ("encoder", settings.models.encoder, "minilm"),
    ):
        name = f"model {kind}"
        wrong = _wrong(asset(embedded)) if named == "embedded" else None
        if wrong is not None:
            yield Finding(name, "missing", f"{embedded} {wrong}", f"weighup models pull {embedded} --force")
            continue
        try:
            opened = language_model(quiet) if kind == "language" else encoder(quiet)
        except WeighupError as error:
            yield Finding(name, "missing", str(error), f"see setting models.{kind}; `weighup models test` tries it")
            continue
        if opened is None:
            yield Finding(name, "ok", "none, as set: no text is written")
        elif kind == "language" and not settings.models.is_local:
            yield Finding(name, "ok", f"{opened.name}; not asked here", "`weighup models test` asks it")
        else:
            yield Finding(name, "ok", f"{opened.name}" + (", sha256 is right" if named == "embedded" else ""))


def weights(settings: Settings) -> Iterator[Finding]:
    """The trained parts, shipped or the user's: every file against the sha256 on its card."""
    from weighup.errors import WeightsError
    from weighup.files import sha256
    from weighup.verify.weights import OF, PARTS, SHIPPED, card, digests, find, has, place

    folder = settings.verify.weights
    checked = []
    for part in PARTS:
        try:
            if part in OF and not has(part, folder):
                continue
            home = find(part, folder)
            for file, digest in digests(part, card(part, folder), home / f"{part}.json").items():
                path = place(home, file)
                if not path.is_file() or sha256(path) != digest.lower():
                    raise WeightsError(f"{path}: is {'not what its card says' if path.is_file() else 'not there'}")
        except WeightsError as error:
            again = "train it again with `weighup train`, or leave verify.weights out"
            mend = "pip install --force-reinstall weighup" if folder is None else again
            yield Finding(f"weights {part}", "missing", str(error), mend)
            continue
        checked.append(part if home == SHIPPED else f"{part} (yours)")
    if checked:
        yield Finding("weights", "ok", f"whole: {', '.join(checked)}")


def evidence(settings: Settings) -> Iterator[Finding]:
    """The evidence store and the starter pack."""
    from weighup.errors import StoreError
    from weighup.retrieve.pack import VERSION
    from weighup.retrieve.schema import SCHEMA_VERSION
    from weighup.retrieve.store import EvidenceStore, default_path
    from weighup.settings import cache_folder

    path = default_path()
    if path.exists():
        try:
            with EvidenceStore.open(path, create=False) as store:
                held = store.stats()
            said = f"{held['documents']:,} documents to {held['latest'] or 'no date'} in {path}"
            used = settings.retrieve.store is not None
            yield Finding(
                "evidence store",
                "ok" if used else "note",
                said if used else f"{said}; not used, for retrieve.store does not name it",
                None if used else f"set WEIGHUP_RETRIEVE__STORE={path} to use it",
            )
        except StoreError as error:
            yield Finding("evidence store", "missing", str(error), "restore a copy, or name another: retrieve.store")
    elif settings.retrieve.store is not None:
        yield Finding("evidence store", "note", f"{path} is not there yet", "weighup store add FILES…")
    else:
        yield Finding("evidence store", "note", "none of your own", "weighup store add FILES…, if wanted")
    if settings.retrieve.starter_pack:
        made = (cache_folder() / "packs" / f"starter-{VERSION}-{SCHEMA_VERSION}.sqlite").exists()
        yield Finding("starter pack", "ok", "ready" if made else "is made when it is first used")


def disk(settings: Settings) -> Iterator[Finding]:
    """Whether the folders that are written to can be, and have room."""
    import platformdirs

    from weighup.settings import cache_folder

    temporary, data = Path(tempfile.gettempdir()), Path(platformdirs.user_data_dir("weighup"))
    store, cache = settings.retrieve.store, cache_folder()
    inside = [cache / "packs", cache / "requests"]
    if _not_writable(cache) is not None and all(one.is_dir() and _not_writable(one) is None for one in inside):
        cache = inside[0]  # as in the image: models are only read
    folders = {"cache folder": cache, "data folder": data, "temporary folder": temporary}
    remedies = {
        "cache folder": "set WEIGHUP_CACHE_DIR to a folder that can be written",
        "data folder": "set WEIGHUP_DATABASE, and retrieve.store, to files elsewhere",
        "temporary folder": "set TMPDIR to a folder that can be written",
    }
    if os.environ.get("WEIGHUP_DATABASE") and store is not None:
        del folders["data folder"]  # nothing is kept there
    if store is not None:
        folders["store folder"] = store.absolute().parent
        remedies["store folder"] = "make it writable, or set retrieve.store to a file elsewhere"
    for name, folder in folders.items():
        why = _not_writable(folder)
        if why is not None:
            yield Finding(name, "missing", f"{folder} cannot be written ({why})", remedies[name])
            continue
        free = shutil.disk_usage(_nearest(folder)).free
        said = f"{folder}, {free / 1e9:,.1f} GB free"
        if free < LITTLE:
            state: State = "missing" if free < TOO_LITTLE else "note"
            yield Finding(name, state, said, f"make room, or {remedies[name]}")
        else:
            yield Finding(name, "ok", said)


def _settings() -> tuple[Settings | None, list[Finding]]:
    from weighup.cli.checking import set_up_log
    from weighup.errors import SettingsError
    from weighup.settings import config_file, load_settings

    try:
        settings, file = load_settings(), config_file()
    except SettingsError as error:
        mend = "mend it; until then models, stores and servers are not looked at"
        return None, [Finding("settings", "missing", str(error), mend)]
    set_up_log(settings.log, quiet=False)
    names = sorted(name for name in os.environ if name.startswith("WEIGHUP_"))
    said = f"from {file}" if file else "no weighup.toml, so the defaults"
    return settings, [Finding("settings", "ok", said + (f"; environment: {', '.join(names)}" if names else ""))]


def _safely(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # whatever is wrong with this machine, the rest is still looked at
        log.debug("looking at %s", name, exc_info=True)
        said = f"could not be looked at: {type(error).__name__}"
        found.append(Finding(name, "missing", said, "run it again with WEIGHUP_LOG=debug and report it"))
    return found


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _broken() -> Iterator[tuple[str, str]]:
    """Libraries that do not load, and why; tried in processes of their own, for one may end in a crash."""
    if _load(*NATIVE) is None:
        return
    for name in NATIVE:
        why = _load(name)
        if why is not None:
            yield name.partition(".")[0], why


def _load(*names: str) -> str | None:
    command = [sys.executable, "-c", "; ".join(f"import {name}" for name in names)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "it hangs"
    if done.returncode < 0:
        return f"it crashes (signal {-done.returncode}); this processor or system may be too old for it"
    return None if not done.returncode else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def _wrong(asset: Asset) -> str | None:
    """What is wrong with a model's file; None: it is there and whole."""
    from weighup.files import sha256

    try:
        if not asset.path.is_file():
            return f"is not on this machine ({asset.what})"
        if sha256(asset.path) != asset.sha256:
            return f"is damaged: {asset.path} has another sha256 than it should"
    except OSError as error:
        return f"cannot be read: {asset.path}: {error.strerror or error}"
    return None


def _nearest(folder: Path) -> Path:
    """The folder, or what is there of the way to it."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def _not_writable(folder: Path) -> str | None:
    """Why nothing can be written to a folder (or made on the way to it); None: it can."""
    there = _nearest(folder)
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"weighup")
        elif not there.is_dir():
            return f"{there} is a file"
        elif not os.access(there, os.W_OK | os.X_OK):
            return f"{there} may not be written"
    except OSError as error:
        return error.strerror or str(error)
    return None
