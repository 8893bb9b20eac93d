"""The networks: one adapter each, and the one place that owns their live receivers."""
