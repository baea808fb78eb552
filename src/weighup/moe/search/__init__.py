"""Searching for architectures."""
