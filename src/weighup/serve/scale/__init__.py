"""Checking on more than one process: workers under Ray, on this machine or on a cluster."""
