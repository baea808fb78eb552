"""`weighup watch`: its flags and what excludes what. What it prints is in `watching`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from weighup.cli.needs import require


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags say; None: as the settings do."""

    feeds: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    once: bool = False
    every: float | None = None
    brief: bool = False
    offline: bool = False
    search: bool = True
    threshold: float | None = None
    webhook: str | None = None
    email_to: tuple[str, ...] = ()
    database: str | None = None
    as_json: bool = False
    quiet: bool = False
    config: Path | None = None


def watch(
    feeds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FEED…",
            help="RSS, Atom, JSON Feed or sitemap addresses, folders of files, or - for the lines of standard input.",
        ),
    ] = None,
    evidence_from: Annotated[
        list[str] | None,
        typer.Option("--evidence-from", help="A feed or folder whose entries are evidence, not claims; repeatable."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Do all that is due now, then end.")] = False,
    every: Annotated[
        float | None, typer.Option("--every", min=10, max=86_400, help="Seconds between polls of the feeds named here.")
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Write no text: extracts and probabilities only.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no online sources and no remote model; only the feeds themselves.")
    ] = False,
    no_search: Annotated[bool, typer.Option("--no-search", help="Look for no evidence at all.")] = False,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Least change of P(fake), in all, that raises an alert: 0.2.")
    ] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", help="Post alerts to this address, signed.")] = None,
    email_to: Annotated[
        list[str] | None, typer.Option("--email-to", help="Mail alerts to this mailbox; repeatable.")
    ] = None,
    list_feeds: Annotated[bool, typer.Option("--list", help="Show what is watched, and end.")] = False,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="Watch this one no longer, and end; repeatable.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", help="File or URL. Default: WEIGHUP_DATABASE, else in the user's data folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each check.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print alerts only.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Settings from this weighup.toml.")] = None,
) -> None:
    """Watch feeds: check what is new as it arrives, check it again as evidence comes, tell of changes.

    \b
    Examples:
      weighup watch https://example.org/rss.xml --brief
      weighup watch dropped/ --once --offline
      tail -f posts.txt | weighup watch - --json
      weighup watch https://example.org/rss.xml --evidence-from https://wire.example/feed --webhook https://desk.example/in
      weighup watch --list

    Feeds are remembered, with all that they brought: `weighup watch` alone goes on where it stood. Ctrl-C finishes
    what is being checked and ends with 130; what was not checked yet is checked next time. Needs pip install
    'weighup[serve]'.
    """
    from weighup.errors import InvalidInput

    wanted = Wanted(
        feeds=tuple(feeds or ()),
        evidence=tuple(evidence_from or ()),
        once=once,
        every=every,
        brief=brief,
        offline=offline,
        search=not no_search,
        threshold=threshold,
        webhook=webhook,
        email_to=tuple(email_to or ()),
        database=database,
        as_json=as_json,
        quiet=quiet,
        config=config,
    )
    if (list_feeds or remove) and (feeds or evidence_from or once or (list_feeds and remove)):
        raise InvalidInput("--list and --remove stand alone; leave the others out")
    if as_json and quiet:
        raise InvalidInput("--json prints every check and --quiet only alerts; leave one out")
    require("sqlalchemy", "feedparser", who="watching needs")
    from weighup.cli import watching

    if list_feeds:
        watching.show(wanted)
    elif remove:
        watching.remove(wanted, remove)
    else:
        watching.watch(wanted)
