"""Experts for several tasks, users or adapters."""
