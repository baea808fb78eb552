"""Fitting EASE: evaluators, experts and calibration, each step on predictions made out of fold."""
