"""The promises, what holds each, and the figures of the last run: `python -m tests.proof` writes docs/promises.md from them."""
