"""The control API of a running service: an HTTP server above the runner, what guards it, and the client that speaks to it."""
