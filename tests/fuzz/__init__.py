"""Whatever may come in from outside, made up: frames, HTTP calls, config texts, and the answers of a Bot API server."""
