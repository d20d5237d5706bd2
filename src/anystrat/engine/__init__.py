"""One decision step: events in, outcomes out. Synchronous, deterministic, with no clock and no input or output."""
