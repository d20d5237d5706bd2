"""The synchronous driver of the engine: a recording in, outcomes and a report out."""
