"""The control plane: the page, HTTP and WebSocket over one set of calls, with one way in."""
