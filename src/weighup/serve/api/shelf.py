"""The evidence stores that the server looks in: those of its verifier, so that nothing is opened twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from weighup.errors import StoreError
from weighup.serve.checkers import stores_of

if TYPE_CHECKING:
    from weighup.retrieve.store import EvidenceStore
    from weighup.retrieve.types import Evidence
    from weighup.verify.batch import Checker

logger = logging.getLogger("weighup.serve")


class Shelf:
    """Searches all stores for one query. Blocking; thread-safe."""

    def __init__(self, checker: Checker, stores: Sequence[EvidenceStore] | None = None) -> None:
        self._checker = checker
        self._given = stores

    @property
    def stores(self) -> Sequence[EvidenceStore]:
        """Those given, else the verifier's."""
        if self._given is not None:
            return self._given
        return stores_of(self._checker)

    def search(self, query: str, before: datetime | None, limit: int) -> list[Evidence]:
        """At most `limit` passages of all stores, best first, the same text once.

        Raises StoreError if no store can be searched; one that cannot, among others that can, is logged and left out.
        """
        found: dict[str, Evidence] = {}
        failed: StoreError | None = None
        worked = 0
        for store in self.stores:
            try:
                hits = store.search([query], before=before, limit=limit)[0]
            except StoreError as error:
                failed = error
                logger.warning("a store could not be searched", extra={"error": str(error)[:300]})
                continue
            worked += 1
            for hit in hits:
                found.setdefault(hit.text, hit)
        if failed is not None and not worked:
            raise failed
        return sorted(found.values(), key=lambda hit: -hit.score)[:limit]
