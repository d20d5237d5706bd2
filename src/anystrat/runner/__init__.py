"""The durable runner: an asyncio shell around the engine, with a source, a journal and sinks at its ends."""
