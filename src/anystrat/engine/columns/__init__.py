"""The same decisions over blocks of ticks: grouped by instrument once, evaluated as columns, gated in tick order."""
