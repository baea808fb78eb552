"""What `weighup watch` does: settings and feeds from its flags, a watcher and a courier side by side, lines printed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from weighup.errors import InvalidInput

if TYPE_CHECKING:
    from weighup.cli.watch import Wanted
    from weighup.models.types import Encoder
    from weighup.retrieve.rowfiles import Broken
    from weighup.serve.alerts.courier import Courier
    from weighup.serve.db import Database
    from weighup.serve.db.records import Check, Feed, Recorded
    from weighup.serve.watch.watcher import Watcher
    from weighup.settings import Settings

OWNER = ""
"""The tenant of this machine's owner."""
LINES = "stdin"
"""What the lines of standard input are kept under."""
_LINES_EVERY = 0.1  # seconds between looks for lines
_BROKEN = 20  # broken files or lines told one by one


def watch(wanted: Wanted) -> None:
    """Watch until told to stop, until everything that is due is done (`once`), or until standard input ends."""
    from weighup.serve.alerts.courier import Courier
    from weighup.serve.alerts.policy import outbox
    from weighup.serve.db import Database
    from weighup.serve.desk import Desk
    from weighup.serve.watch.vectors import Remembering
    from weighup.serve.watch.watcher import Watcher
    from weighup.verify.verifier import Verifier

    settings = read_settings(wanted)
    if "-" in wanted.feeds and sys.stdin is None:
        raise InvalidInput("standard input is closed; pipe lines in, or leave the - out")
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(wanted.database))
        alerts = outbox(settings)
        courier = opened.enter_context(Courier(database, settings))
        lines = _add(wanted, database, settings)
        if not database.feeds.watched(OWNER):
            raise InvalidInput("nothing is watched yet: name a feed, a folder, or - for standard input")
        encoder = Remembering(_encoder(settings))
        verifier = opened.enter_context(
            Verifier(settings, offline=wanted.offline, search=wanted.search, encoder=encoder)
        )
        printer = Printer(wanted, settings.watch.threshold)
        watcher = Watcher(
            Desk(verifier, database, alerts=alerts, settings=settings.watch),
            settings,
            f"watch:{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
            encoder=encoder,
            folders=True,
            pages=not wanted.offline,
            tell=printer.tell,
            on_broken=printer.broken,
        )
        opened.callback(watcher.close)
        with stopping() as stop:
            _run(wanted, watcher, courier, lines, stop.event)
        printer.end(watcher)
        if stop.interrupted:
            raise KeyboardInterrupt


def show(wanted: Wanted) -> None:
    """Print what is watched."""
    from weighup.console import table
    from weighup.serve.alerts.message import one_line
    from weighup.serve.db import Database

    with Database.open(wanted.database) as database:
        feeds = database.feeds.watched(OWNER)
    if wanted.as_json:
        for feed in feeds:
            typer.echo(json.dumps(_shown(feed), ensure_ascii=False))
        return
    if not feeds:
        typer.echo("nothing is watched", err=True)
        return
    rows = [
        (
            one_line(feed.url, 100),
            "evidence" if feed.evidence else feed.kind,
            _when(feed.last_poll),
            _when(feed.next_poll) if feed.enabled and feed.kind != "lines" else None,
            one_line(feed.last_error or "", 100),
        )
        for feed in feeds
    ]
    table(("feed", "kind", "polled", "next", "trouble"), rows)


def remove(wanted: Wanted, names: Sequence[str]) -> None:
    """Forget feeds; their verdicts stay. Raises InvalidInput for one that is not watched."""
    from weighup.serve.db import Database

    with Database.open(wanted.database) as database:
        feeds = {feed.url: feed for feed in database.feeds.watched(OWNER)}
        found = [feeds.get(name) or feeds.get(_kept_as(name)) for name in names]
        for name, feed in zip(names, found, strict=True):
            if feed is None:
                raise InvalidInput(f"{name[:200]}: is not watched; `weighup watch --list` shows what is")
        database.feeds.remove(OWNER, [feed.id for feed in found if feed is not None])
    typer.echo(f"{len(names):,} no longer watched")


def read_settings(wanted: Wanted) -> Settings:
    """All layers of settings, flags on top, and the log set up by them. Raises SettingsError or InvalidInput."""
    from weighup.cli.checking import set_up_log
    from weighup.retrieve.store import default_path
    from weighup.settings import load_settings, use_config

    use_config(wanted.config)
    # Every check has its line here; the console of the alerts would say the same again.
    told: dict[str, Any] = {"console": bool(wanted.quiet)}
    told |= {} if wanted.every is None else {"every": wanted.every}
    told |= {} if wanted.threshold is None else {"threshold": wanted.threshold}
    told |= {} if wanted.webhook is None else {"webhook": wanted.webhook}
    told |= {"email_to": wanted.email_to} if wanted.email_to else {}
    flags: dict[str, Any] = {"watch": told}
    if wanted.brief:
        flags["verify"] = {"brief": True}
    if wanted.evidence:  # what they bring must go somewhere, and be looked for there
        flags["retrieve"] = {"store": default_path()}
    settings = load_settings(flags)
    set_up_log(settings.log, quiet=False)
    return settings


@dataclass(slots=True)
class Stopping:
    """`event` is set when it is time to end; `interrupted` says whether Ctrl-C was the reason."""

    event: threading.Event = field(default_factory=threading.Event)
    interrupted: bool = False


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Ctrl-C and SIGTERM ask to stop; a second Ctrl-C ends at once."""
    stop = Stopping()

    def ask(number: int, _: object) -> None:
        if stop.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.interrupted = stop.interrupted or number == signal.SIGINT
        stop.event.set()
        typer.echo("weighup: stopping when what is being checked is done; Ctrl-C again ends at once", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Printer:
    """Says what was checked, a line each: what is new, what changed, and with `--json` everything. Thread-safe enough:
    each line is one write."""

    def __init__(self, wanted: Wanted, threshold: float) -> None:
        self._wanted = wanted
        self._threshold = threshold
        self._broken = 0

    def tell(self, check: Check, recorded: Recorded) -> None:
        """One check that has been kept."""
        if self._wanted.as_json:
            sys.stdout.write(json.dumps(self._event(check, recorded), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        elif not self._wanted.quiet and (text := self._line(check, recorded)):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def broken(self, broken: Broken) -> None:
        """Something of a folder or of standard input that could not be read."""
        self._broken += 1
        if self._broken <= _BROKEN:
            typer.echo(f"weighup: {_printable(str(broken))}", err=True)

    def end(self, watcher: Watcher) -> None:
        """What it came to."""
        counts, waiting = watcher.counts, watcher.database.feeds.waiting()
        parts = [
            f"{counts.checked:,} checked, {counts.copies:,} copies, {counts.skipped:,} without a claim or evidence",
            f"{counts.again:,} checked again",
        ]
        if counts.polls.feeds:
            parts.insert(0, f"{counts.polls.feeds:,} polls brought {counts.polls.items:,} entries")
        parts += [f"{counts.failed:,} failed"] if counts.failed else []
        parts += [f"{counts.polls.failed:,} polls failed (weighup watch --list)"] if counts.polls.failed else []
        parts += [f"{waiting:,} wait to be checked"] if waiting else []
        typer.echo(f"weighup: {'; '.join(parts)}", err=True)

    def _line(self, check: Check, recorded: Recorded) -> str | None:
        """A line for people; None for a re-check that changed nothing worth a line."""
        from weighup.serve.alerts.message import one_line, standing

        verdict = check.verdict
        low, high = verdict.interval
        head = "new    "
        was = ""
        if not recorded.created:
            before, label = standing(recorded)
            moved = before is not None and abs(verdict.probability_fake - before) >= self._threshold - 1e-9
            if label == verdict.verdict and not moved:
                return None
            head, was = "changed", "" if before is None else f", was {_word(label)} at {before:.2f}"
        source = f" ({one_line(check.source, 60)})" if check.source else ""
        return _printable(
            f"{_when(check.at)} {head} {_word(verdict.verdict)} P(fake) {verdict.probability_fake:.2f} "
            f"[{low:.2f}, {high:.2f}]{was}: {one_line(verdict.claim, 160)}{source}"
        )

    def _event(self, check: Check, recorded: Recorded) -> dict[str, Any]:
        from weighup.serve.alerts.message import payload

        told = payload("verdict.first" if recorded.created else "verdict.changed", check, recorded)
        moved = None if recorded.before is None else check.verdict.probability_fake - recorded.before
        return {**told, "type": "new" if recorded.created else "again", "moved": moved}


def _run(wanted: Wanted, watcher: Watcher, courier: Courier, lines: Feed | None, stop: threading.Event) -> None:
    """All of it: once, until the lines end if nothing else was named, or until told to stop."""
    ended = threading.Event()

    def read() -> None:
        from weighup.serve.watch.lines import follow

        try:
            if lines is not None:
                follow(sys.stdin.buffer, lines, watcher.database, stop, on_broken=watcher.polling.on_broken)
        finally:
            ended.set()

    if wanted.once:
        read()
        watcher.once(stop)
        if courier.channels:
            courier.deliver_once()
        return
    if lines is not None:
        threading.Thread(target=read, name="weighup-stdin", daemon=True).start()
    done = threading.Event()
    carrier = threading.Thread(target=courier.run, args=(done,), name="weighup-courier", daemon=True)
    if courier.channels:
        carrier.start()
    try:
        if lines is not None and set(wanted.feeds) == {"-"} and not wanted.evidence:
            _until(ended, watcher, stop)
        else:
            watcher.run(stop)
    finally:
        done.set()
        if courier.channels:
            carrier.join()
            courier.deliver_once()


def _until(ended: threading.Event, watcher: Watcher, stop: threading.Event) -> None:
    """Check lines as they come, until they have ended and all are checked."""
    while not stop.is_set():
        over = ended.is_set()  # asked before looking for what is left
        if watcher.check_once(stop):
            continue
        if over:
            return
        stop.wait(_LINES_EVERY)


def _add(wanted: Wanted, database: Database, settings: Settings) -> Feed | None:
    """Keep the feeds that are named; that of standard input, if it is."""
    lines = None
    for names, evidence in ((wanted.feeds, False), (wanted.evidence, True)):
        for name in names:
            kind, url = _kind(name, evidence, settings)
            (feed,) = database.feeds.add(OWNER, [url], kind=kind, every=settings.watch.every, evidence=evidence)
            if feed.evidence != evidence:
                raise InvalidInput(
                    f"{name[:200]}: is watched already {'as evidence' if feed.evidence else 'for its claims'}; "
                    "--remove it first"
                )
            if kind == "lines":
                lines = feed
                database.feeds.enable(OWNER, [feed.id], False)  # nothing polls it
            elif not feed.enabled:
                database.feeds.enable(OWNER, [feed.id], True)
    return lines


def _kind(name: str, evidence: bool, settings: Settings) -> tuple[str, str]:
    """Kind and address under which a feed is kept. Raises InvalidInput or AddressRefused for what cannot be watched."""
    from weighup.retrieve.guard import check_address

    if name == "-":
        if evidence:
            raise InvalidInput("--evidence-from -: lines have no date, so that nothing could be judged by them")
        return "lines", LINES
    if name.lower().startswith(("http://", "https://")):
        return "feed", check_address(name, allow_loopback=settings.retrieve.allow_loopback).url
    path = Path(name).expanduser()
    if path.is_dir():
        return "folder", _kept_as(name)
    if path.is_file():
        raise InvalidInput(f"{name[:200]}: is a file; watch its folder, or pipe its lines in: weighup watch - < FILE")
    raise InvalidInput(f"{name[:200]}: is neither an http(s) address nor a folder")


def _kept_as(name: str) -> str:
    if name == "-":
        return LINES
    return name if "://" in name else str(Path(name).expanduser().resolve())


def _encoder(settings: Settings) -> Encoder:
    from weighup.models.open import encoder

    return encoder(settings)


def _shown(feed: Feed) -> dict[str, Any]:
    return {
        "url": feed.url,
        "kind": feed.kind,
        "evidence": feed.evidence,
        "title": feed.title,
        "every": feed.every,
        "enabled": feed.enabled,
        "last_poll": None if feed.last_poll is None else feed.last_poll.isoformat(timespec="seconds"),
        "next_poll": feed.next_poll.isoformat(timespec="seconds"),
        "errors": feed.errors,
        "last_error": feed.last_error,
    }


def _when(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _word(label: str | None) -> str:
    return str(label).replace("_", " ")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
