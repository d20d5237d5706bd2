"""What the words mean: ticks, signals, windows, lifecycle, outcomes, and the ports that others implement.

Nothing here does input or output, reads a clock, or knows a technology.
"""
