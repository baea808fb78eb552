"""Records that only watching needs: claims that are open, stories as they stand, what copies are known by."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim that is not settled, with what tells whether a document bears on it: `words` as searches see them."""

    id: uuid.UUID
    words: str
    url: str | None
    next_check: datetime | None


@dataclass(frozen=True, slots=True)
class StoryState:
    """A story as clustering goes on with it. `first` and `last` bound when its items were published, `size` counts
    those that are no copies, `total` is the sum of their vectors, float32 as bytes."""

    id: uuid.UUID
    tenant: str
    title: str
    first: datetime
    last: datetime
    size: int
    total: bytes


@dataclass(frozen=True, slots=True)
class Marked:
    """An entry that may be copied: its id, its story and its mark."""

    item_id: int
    story_id: uuid.UUID
    mark: bytes
