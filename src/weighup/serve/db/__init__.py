"""The database of `weighup serve` and `weighup watch`, on SQLite or PostgreSQL. Begin with `Database.open`."""

from weighup.serve.db.database import Database

__all__ = ["Database"]
