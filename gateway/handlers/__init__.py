"""What answers a message. A handler is `async (message, settings) -> text or None`, found by its config's `type`."""
