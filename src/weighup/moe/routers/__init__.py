"""Routers that are trained with their model, one file a method."""
