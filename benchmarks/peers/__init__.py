"""Other engines on the same workloads, each in an environment of its own; nothing here imports anystrat."""
