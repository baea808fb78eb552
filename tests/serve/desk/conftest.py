"""What `store_fixtures` has: databases, and no settings but those of the test."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from store_fixtures import cluster, db, kind, new_url, no_settings, sqlite_template, url

__all__ = ["cluster", "db", "kind", "new_url", "no_settings", "sqlite_template", "url"]
