"""Each handler against a real server, process or module."""
