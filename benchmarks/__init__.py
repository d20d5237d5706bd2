"""How quick anystrat is, beside other engines on the same ticks: `python -m benchmarks` runs everything and prints it."""
