"""Simulation: the real gateway on virtual time, between a simulated network, Bot API and disk; `python -m tests.simulation`."""
