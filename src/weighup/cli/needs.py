"""Whether what a command needs beyond the core is installed."""

from __future__ import annotations


def require(*libraries: str, who: str | None = None) -> None:
    """Raises InvalidInput, saying what to install, if one of the libraries is not there.

    `who`, such as "keys need", begins the message; None: the first library that is missing is named.
    """
    import importlib.util

    from weighup.errors import InvalidInput

    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing and who is None:
        raise InvalidInput(f"{missing[0]} is not installed; run pip install 'weighup[serve]'")
    if missing:
        raise InvalidInput(f"{who} more libraries; install them with pip install 'weighup[serve]'")
