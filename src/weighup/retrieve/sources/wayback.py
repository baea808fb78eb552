"""The Wayback Machine: a page as it stood before the claim.

APIs: https://archive.org/help/wayback_api.php (`/wayback/available`: the capture nearest to a moment, on either side of
it) and https://github.com/internetarchive/wayback/tree/master/wayback-cdx-server (`/cdx/search/cdx`: with `to=` and
`limit=-1` the last capture up to a moment). The capture is read raw (`id_`). The archive redirects to a neighbouring
capture where it sees fit, even to a later one, so the timestamp in the address finally reached is what counts.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from weighup.dates import is_before, now, published_or_none
from weighup.errors import PageRefused, SourceUnavailable
from weighup.retrieve.sources.dating import last_moment, only_before
from weighup.retrieve.sources.hits import domain
from weighup.retrieve.sources.queries import addresses_in
from weighup.retrieve.sources.replies import accepted, at, fetch, fetch_json, plain
from weighup.retrieve.types import Document

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

logger = logging.getLogger(__name__)

_CAPTURE = re.compile(r"/web/(\d{14})(?:[a-z]{2}_)?/")
_STAMP = "%Y%m%d%H%M%S"


class Wayback:
    """Answers queries that hold web addresses, each with the page's last capture before the bound; others with none."""

    name = "wayback"
    takes_addresses = True

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://archive.org",
        archive_url: str = "https://web.archive.org",
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.archive_url = archive_url.rstrip("/")

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """The captures of the addresses in the query. Raises SourceUnavailable."""
        found = [self.archived(address, before) for address in addresses_in(query)[: max(limit, 0)]]
        return only_before((document for document in found if document is not None), before, limit)

    def archived(self, url: str, before: datetime | None) -> Document | None:
        """The page as last captured before the bound (None: as last captured), or None if it never was.

        `published` is the capture's moment: the page stood there by then. Raises SourceUnavailable.
        """
        stamp = self._nearest(url, before) or self._last(url, before)
        if stamp is None:
            return None
        return self._read(url, stamp, before)

    def _nearest(self, url: str, before: datetime | None) -> str | None:
        """The quick service's capture, if it lies before the bound; its index is smaller than the full one."""
        wanted = now() if before is None else last_moment(before)
        reply = fetch_json(
            self.name,
            self.client,
            f"{self.base_url}/wayback/available",
            params={"url": url, "timestamp": wanted.strftime(_STAMP)},
        )
        if at(reply, "archived_snapshots", "closest", "status") not in (None, "200", 200):
            return None
        return _usable(plain(at(reply, "archived_snapshots", "closest", "timestamp")), before)

    def _last(self, url: str, before: datetime | None) -> str | None:
        """The full index's last good capture up to the bound."""
        params: dict[str, Any] = {
            "url": url,
            "output": "json",
            "fl": "timestamp,statuscode,mimetype",
            "filter": "statuscode:200",
            "limit": -1,
        }
        if before is not None:
            params["to"] = last_moment(before).strftime(_STAMP)
        rows = _table(fetch(self.name, self.client, f"{self.archive_url}/cdx/search/cdx", params=params).text)
        stamps = [stamp for row in rows if row and (stamp := _usable(str(row[0]), before))]
        return max(stamps, default=None)

    def _read(self, url: str, stamp: str, before: datetime | None) -> Document | None:
        from weighup.retrieve.credibility import credibility_for
        from weighup.retrieve.pages import PAGE_TYPES, read_fetched

        try:
            reply = self.client.get(f"{self.archive_url}/web/{stamp}id_/{url}", accept=PAGE_TYPES, trusted=True)
            if reply.status == 404:
                return None
            page = read_fetched(accepted(self.name, reply))
        except PageRefused as error:
            logger.info("a capture of %s was not read: %s", domain(url), error)
            return None
        reached = _CAPTURE.match(reply.url.removeprefix(self.archive_url))
        if reached is None:
            return None  # led out of the archive, to the page of today
        stamp = reached[1]
        published = _moment(stamp)
        if not page.text or not is_before(published, before):
            return None
        publisher = credibility_for(self.client.settings, url)
        return Document(
            text=page.text,
            id=f"wayback:{stamp}:{url}",
            url=f"{self.archive_url}/web/{stamp}/{url}",
            title=page.title or None,
            published=published,
            source=domain(url),
            # The publisher's record counts, not the archive's.
            credibility=None if publisher is None else publisher.score,
        )


def _table(text: str) -> list[list[Any]]:
    """The index's rows without their header; an address never captured gives `[]` or nothing at all."""
    import json

    try:
        found = json.loads(text) if text.strip() else []
    except ValueError:
        raise SourceUnavailable("wayback answered with something that is not JSON; try again later") from None
    return [row for row in found[1:] if isinstance(row, list)] if isinstance(found, list) else []


def _usable(stamp: str, before: datetime | None) -> str | None:
    return stamp if is_before(_moment(stamp), before) and _moment(stamp) is not None else None


def _moment(stamp: str) -> datetime | None:
    if not re.fullmatch(r"\d{14}", stamp):
        return None
    return published_or_none(f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:]}+00:00")


def open_source(settings: RetrieveSettings, client: WebClient) -> Wayback:
    """As the registry opens it."""
    return Wayback(client)
