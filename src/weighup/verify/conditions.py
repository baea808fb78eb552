"""What the verdicts of a run depend on besides its rows, so that a stopped run is not taken up under other flags.

Left out is what changes only speed and cost (threads, retries, limits of time, caches, budgets of the whole run),
and what the other flags leave unused: with `brief` the language model, without `search` stores and sources. Files
and stores count by their names; what is in them is not compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from weighup.settings import Settings


def conditions(settings: Settings, *, offline: bool, search: bool) -> dict[str, Any]:
    """Names and values, in a fixed order; None and nothing are left out."""
    verify, models, retrieve = settings.verify, settings.models, settings.retrieve
    found: dict[str, Any] = {
        "brief": verify.brief,
        "offline": offline,
        "search": search,
        "passages": verify.passages,
        "encoder": models.encoder,
        "weights": verify.weights,
        "risk": verify.risk,
    }
    if not verify.brief:
        found["model"] = models.language
        if models.language != "none":
            found |= {
                "base_url": _bare(models.base_url),
                "context": models.context,
                "summarise": verify.summarise,
                "prompts": verify.prompts,
                "budget_tokens": verify.budget_tokens,
                "budget_usd": verify.budget_usd,
            }
    if search:
        found |= {"store": retrieve.store, "starter_pack": retrieve.starter_pack}
    if search and not offline:
        found |= {
            "sources": ",".join(retrieve.sources),
            "feeds": ",".join(retrieve.feeds),
            "searxng_url": _bare(retrieve.searxng_url),
            "credibility": retrieve.credibility,
        }
    if not verify.brief or (search and not offline):
        found["budget_seconds"] = verify.budget_seconds
    return {name: value for name, value in found.items() if value not in (None, "")}


def digest(found: Mapping[str, Any]) -> str:
    """A short name of the conditions: the same for the same, on every machine."""
    return hashlib.sha256(json.dumps(dict(found), default=str, sort_keys=True).encode()).hexdigest()[:16]


def told(found: Mapping[str, Any]) -> str:
    """The conditions for people, `brief=yes, search=no, passages=5`."""
    words = {True: "yes", False: "no"}
    return ", ".join(f"{name}={words[value] if isinstance(value, bool) else value}" for name, value in found.items())


def _bare(address: str | None) -> str | None:
    """An address without a user and password in it: these are shown to people."""
    return re.sub(r"//[^/]*@", "//", address) if address else None
