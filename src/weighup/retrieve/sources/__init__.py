"""Online sources by name, opened when asked for. A new one: a file here with `open_source`, a line below, its tests.

Other packages add theirs through the entry-point group `weighup.sources`: a callable that takes
(`RetrieveSettings`, `WebClient`) and returns a `Source`. What they return is filtered by date again in `gather`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from weighup.errors import SettingsError
from weighup.retrieve.types import Source

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

GROUP = "weighup.sources"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source that can be opened. `key` is the environment variable its key is read from, `setting` the setting it
    needs, each None if it needs none; `module` is where it is implemented."""

    name: str
    about: str
    key: str | None = None
    setting: str | None = None
    module: str = ""

    @property
    def ready(self) -> bool:
        """Whether its key (if any) is set."""
        return self.key is None or bool(os.environ.get(self.key, "").strip())


_HERE = (
    SourceInfo("wikipedia", "encyclopedia, each page as it stood before the claim"),
    SourceInfo("gdelt", "worldwide news of the three months before the claim"),
    SourceInfo("factcheck", "published ratings of fact-checkers", key="GOOGLE_FACTCHECK_API_KEY"),
    SourceInfo("serper", "Google's news results", key="SERPER_API_KEY"),
    SourceInfo("brave", "Brave's news results", key="BRAVE_SEARCH_API_KEY"),
    SourceInfo("searxng", "a metasearch engine of your own", setting="retrieve.searxng_url"),
    SourceInfo("duckduckgo", "news of about the last month"),
    SourceInfo("feeds", "the RSS and Atom feeds you follow", setting="retrieve.feeds"),
    SourceInfo("wayback", "a page the claim links to, as it stood before the claim"),
)


def available_sources() -> list[SourceInfo]:
    """Every source that can be named in the settings, ours first, then plug-ins by name."""
    ours = [SourceInfo(s.name, s.about, s.key, s.setting, f"{__name__}.{s.name}") for s in _HERE]
    names = {source.name for source in ours}
    added = [
        SourceInfo(point.name, "added by an installed package", module=point.module)
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)
        if point.name not in names
    ]
    return ours + added


def open_sources(settings: RetrieveSettings, client: WebClient | None = None) -> list[Source]:
    """The sources that the settings name, in their order.

    Raises SettingsError for a name nobody knows, a missing key or setting, or a plug-in that does not open.
    """
    if not settings.sources:
        return []
    if client is None:
        from weighup.retrieve.web import WebClient

        client = WebClient(settings)
    return [_open(name, settings, client) for name in dict.fromkeys(settings.sources)]


def _open(name: str, settings: RetrieveSettings, client: WebClient) -> Source:
    if any(name == source.name for source in _HERE):
        module = importlib.import_module(f"{__name__}.{name}")
        opened: Source = module.open_source(settings, client)
        return opened
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _plugged(point, settings, client)
    known = ", ".join(source.name for source in available_sources())
    raise SettingsError(f"setting retrieve.sources: there is no source {name!r}; known are {known}")


def _plugged(point: EntryPoint, settings: RetrieveSettings, client: WebClient) -> Source:
    try:
        opened = point.load()(settings, client)
    except SettingsError:
        raise
    except Exception as error:  # other people's code: whatever it raises must come out as our message
        raise SettingsError(f"source {point.name} ({point.value}) could not be opened: {error}") from error
    if not isinstance(opened, Source):
        raise SettingsError(f"source {point.name} ({point.value}) is not a Source: it needs `name` and `search`")
    return opened
