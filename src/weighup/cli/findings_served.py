"""What `weighup doctor` looks at beyond this machine: database, server, receivers of alerts, online sources."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from weighup.cli.findings import Finding

if TYPE_CHECKING:
    from weighup.retrieve.types import Source
    from weighup.serve.db.look import Look
    from weighup.settings import Settings

log = logging.getLogger(__name__)

CLOCKS = 60.0
"""Seconds by which two machines' clocks may differ at most: leases are that long."""
SOON = timedelta(days=7)
_SERVES = ("sqlalchemy", "alembic", "fastapi", "argon2", "uvicorn")


def database() -> Iterator[Finding]:
    """Whether the database answers, and whether its tables are this weighup's. Nothing is made or upgraded."""
    if not _serves():
        if os.environ.get("WEIGHUP_DATABASE"):
            yield Finding("database", "missing", "WEIGHUP_DATABASE is set, but not looked at", _INSTALL)
        return
    found = _look()
    if isinstance(found, Finding):
        yield found
        return
    said = f"{found.server} at {found.name}" if found.server else found.name
    if found.state in ("newer", "foreign"):
        what = "a newer weighup" if found.state == "newer" else "another program"
        mend = "upgrade this weighup, or name another" if found.state == "newer" else "name another"
        yield Finding("database", "missing", f"{said}: holds tables of {what}", f"{mend} with WEIGHUP_DATABASE")
    elif not found.may_write:
        yield Finding(
            "database", "missing", f"{said}: may only be read", "grant CREATE on its schema, or name the primary"
        )
    elif found.state == "current":
        held = f"{found.counts.get('verdict', 0):,} verdicts, {found.counts.get('feed', 0):,} feeds"
        yield Finding("database", "ok", f"{said}, tables up to date; {held}")
    else:
        told = {
            "absent": "is made when first used",
            "new": "has no tables yet; they are made when first used",
            "older": f"has tables of an older weighup ({found.tables}); they are upgraded when next used",
        }
        yield Finding("database", "note", f"{said} {told[found.state]}", "weighup db upgrade, to do it now")
    if abs(found.clock_ahead) > CLOCKS:
        how = "ahead of" if found.clock_ahead > 0 else "behind"
        said = f"this machine's clock is {abs(found.clock_ahead):,.0f} s {how} the database server's"
        yield Finding("clocks", "missing", said, "set both by NTP: work is shared out by the clock")
    if found.vector is not None:
        yield Finding("pgvector", "ok", f"{found.vector}; nothing here needs it")


def serving(settings: Settings) -> Iterator[Finding]:
    """Where the server would listen, and whether there is a key if others can reach it."""
    if not _serves():
        return
    from weighup.serve.api.binding import is_loopback

    told = settings.serve
    where = f"{told.host}:{told.port}"
    keys = _keys_until()
    if isinstance(keys, str):
        yield Finding("server", "note", f"would listen on {where}; its keys could not be looked at: {keys}")
        return
    valid = [until for until in keys if until is None or until > datetime.now(UTC)]
    if is_loopback(told.host):
        many = f", with {len(valid):,} API keys" if valid else ", without API keys: for this machine's user"
        yield Finding("server", "ok", f"listens on {where}, reached from this machine only{many}")
    elif not valid:
        said = f"would listen on {where}, where others reach it, without an API key; it refuses to"
        yield Finding("server", "missing", said, "weighup keys create NAME, or leave serve.host at 127.0.0.1")
    else:
        yield Finding("server", "ok", f"listens on {where}, with {len(valid):,} API keys")
        if not (told.public_url or "").startswith("https://"):
            said = "serve.public_url is not an https:// address: keys and sessions would cross the network in the clear"
            yield Finding("https", "note", said, "put a proxy with TLS in front and set serve.public_url")
    if valid and all(until is not None and until < datetime.now(UTC) + SOON for until in valid):
        yield Finding("keys", "note", "the last API key expires within a week", "weighup keys create NAME")


def alerts(settings: Settings) -> Iterator[Finding]:
    """Whether who is to be told could be told. Nothing is sent."""
    if not _serves():
        return
    from weighup.errors import SettingsError
    from weighup.serve.alerts.targets import targets

    try:
        told = targets(settings).channels
    except SettingsError as error:
        yield Finding("alerts", "missing", str(error), "mend the setting, then try it with `weighup alerts test`")
        return
    names = [channel if channel == target else f"{channel} {target}" for channel, target in told]
    if any(channel != "console" for channel, _ in told):
        yield Finding("alerts", "ok", f"go to {', '.join(names)}; nothing was sent", "`weighup alerts test` sends one")
    else:
        yield Finding("alerts", "ok", f"go to {', '.join(names) or 'nobody'}; no webhook and no mail is set")


def network(settings: Settings, offline: bool) -> Iterator[Finding]:
    """Whether the online sources answer: each is asked for one result."""
    from weighup.errors import SettingsError
    from weighup.retrieve.sources import open_sources
    from weighup.retrieve.web import WebClient

    names = settings.retrieve.sources
    if not names:
        yield Finding("network", "ok", "no online source is set; only the stores are searched")
        return
    with WebClient(settings.retrieve) as client:
        try:
            sources = open_sources(settings.retrieve, client)
        except SettingsError as error:
            yield Finding("network", "missing", str(error), "set it, or leave the source out of retrieve.sources")
            return
        if offline:
            yield Finding("network", "ok", f"not asked, as told: {', '.join(names)}")
            return
        with ThreadPoolExecutor(len(sources)) as pool:
            answers = list(pool.map(_asked, sources))
    silent = [f"{source.name} ({why})" for source, why in zip(sources, answers, strict=True) if why is not None]
    answered = [source.name for source, why in zip(sources, answers, strict=True) if why is None]
    if answered:
        yield Finding("network", "ok", f"answered: {', '.join(answered)}")
    if silent:
        mend = "look at the network, a proxy or a firewall; without them claims are checked on the stores alone"
        yield Finding("network", "note", f"no answer: {'; '.join(silent)}", mend)


_INSTALL = "pip install 'weighup[serve]'"


def _serves() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in _SERVES)


def _look() -> Look | Finding:
    from weighup.errors import InvalidInput, WeighupError
    from weighup.serve.db.look import look
    from weighup.serve.db.url import resolve

    try:
        if resolve().get_backend_name() == "postgresql" and importlib.util.find_spec("psycopg") is None:
            said = "WEIGHUP_DATABASE names a PostgreSQL, for which the driver is not installed"
            return Finding("database", "missing", said, "pip install 'weighup[postgres]'")
        return look()
    except InvalidInput as error:
        return Finding("database", "missing", str(error), "write sqlite:///FILE or postgresql://USER@HOST/NAME")
    except WeighupError as error:
        return Finding(
            "database", "missing", str(error), "see that it runs and may be reached, then `weighup db status`"
        )


def _keys_until() -> list[datetime | None] | str:
    """When the keys that are not revoked end (None: never), or why that cannot be said."""
    from weighup.errors import WeighupError
    from weighup.serve.db import Database

    found = _look()
    if isinstance(found, Finding):
        return "the database does not answer"
    if found.state != "current":  # opening it would make or upgrade its tables
        return []
    try:
        with Database.open() as opened:
            return [key.expires_at for key in opened.api_keys.known() if key.revoked_at is None]
    except WeighupError:
        return "the database does not answer"


def _asked(source: Source) -> str | None:
    """None if the source answers, else why not."""
    try:
        source.search("election", limit=1)
    except Exception as error:  # plug-ins may raise what they like
        log.debug("asking %s", source.name, exc_info=True)
        return f"{type(error).__name__}: {error}"[:150]
    return None
