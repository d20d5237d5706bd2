"""Logs, metrics and traces: observers of outcomes, never inside the engine."""
