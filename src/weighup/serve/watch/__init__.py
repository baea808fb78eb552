"""Watching: polling what is due, checking what is new, checking again what is not settled."""
