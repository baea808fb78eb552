"""Which database: an URL from the caller, else `WEIGHUP_DATABASE`, else a file in the user's data folder.

SQLite is `sqlite:///FILE` or simply a path; PostgreSQL `postgresql://USER:PASSWORD@HOST/NAME`. No message ever shows
a password: what an URL holds of secrets is struck out of every text that leaves this package as an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import platformdirs
from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from weighup.errors import InvalidInput, StoreError

VARIABLE = "WEIGHUP_DATABASE"
_SECRET_OPTIONS = ("password", "sslpassword", "passfile", "sslkey")


def default_file() -> Path:
    """serve.sqlite in the user's data folder. Not created."""
    return Path(platformdirs.user_data_dir("weighup")) / "serve.sqlite"


def resolve(given: str | Path | None = None) -> URL:
    """The URL in force, with its driver. Raises InvalidInput for one that names no usable database."""
    if isinstance(given, Path):
        return _file(given)
    text = given or os.environ.get(VARIABLE) or ""
    if not text:
        return _file(default_file())
    where = "database" if given else VARIABLE
    if "://" not in text:
        if "=" in text:  # a libpq connection string, perhaps with a password in it
            raise InvalidInput(f"{where}: write it as an URL, such as postgresql://user@host/name")
        return _file(Path(text))
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        # What cannot be parsed may hold a password anywhere, so none of it is shown.
        raise InvalidInput(f"{where}: cannot be read as an URL; write sqlite:///FILE or postgresql://…") from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        if "+" in url.drivername and not url.drivername.endswith("+psycopg"):
            raise InvalidInput(f"{where}: {url.drivername}: only the driver psycopg is known; write postgresql://…")
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise InvalidInput(f"{where}: {kind}: no such kind of database here; use sqlite:///FILE or postgresql://…")
    if not url.database or url.database == ":memory:":
        raise InvalidInput(f"{where}: names no file; write sqlite:///FILE, one that every process can open")
    return _file(Path(url.database))


def shown(url: URL) -> str:
    """The URL as it may be logged: no password, and of the options only where it is."""
    kept = {name: url.query[name] for name in ("host", "port", "sslmode") if name in url.query}
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query=kept, drivername="postgresql").render_as_string(hide_password=True)


def without_secrets(text: str, url: URL) -> str:
    """`text` with every secret of `url` struck out, as it is and as URLs write it."""
    options = [url.query[name] for name in _SECRET_OPTIONS if name in url.query]
    secrets = [url.password, *(one for value in options for one in ([value] if isinstance(value, str) else value))]
    for secret in filter(None, secrets):
        for form in {str(secret), quote(str(secret), safe=""), quote(str(secret)), quote_plus(str(secret))}:
            text = text.replace(form, "***")
    return text


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the database's errors into StoreError that names the database, says what to do, and shows no secret.

    The original is not chained: its text may hold a password or a claim's whole text.
    """
    try:
        yield
    except exc.IntegrityError as error:
        said = without_secrets(_first_line(error), url)
        raise StoreError(f"{shown(url)}: refused, for it would break what the tables promise: {said}") from None
    except (exc.SQLAlchemyError, OSError) as error:
        raise StoreError(f"{shown(url)}: {_meaning(without_secrets(_first_line(error), url))}") from None


def _first_line(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error
    return (str(origin).strip().splitlines() or [type(origin).__name__])[0][:300]


def _meaning(said: str) -> str:
    low = said.lower()
    if "not a database" in low:
        return "is not a database of weighup (not an SQLite file); name another file"
    if "malformed" in low or "corrupt" in low:
        return f"is damaged ({said}); restore a copy"
    if "readonly" in low or "read-only" in low or "permission denied" in low:
        return f"cannot be written ({said}); choose another or make it writable"
    if "unable to open" in low:
        return "cannot be opened; check that its folder exists and may be written"
    if "full" in low and "disk" in low:
        return "the disk is full; what was being written was undone"
    if "database is locked" in low:
        return "is being written by another process for over 30 s; try again later"
    if "connection" in low or "connect" in low:
        return f"cannot be reached: {said}; check host, port, name and password in {VARIABLE}"
    return f"the database says: {said}"


def _file(path: Path) -> URL:
    if path.is_dir():
        raise InvalidInput(f"{path}: is a folder; name a file in it, such as {path / 'serve.sqlite'}")
    return URL.create("sqlite", database=str(path.absolute()))
