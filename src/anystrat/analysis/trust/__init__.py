"""Checks of whether a strategy can be believed: on its own ticks, each with a verdict and the number that decides it."""
