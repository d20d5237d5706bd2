"""Why a strategy did what it did on a tick, or did nothing: every number that decided, against what it had to be."""
