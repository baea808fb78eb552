"""Changing how a trained model routes, while it is used."""
