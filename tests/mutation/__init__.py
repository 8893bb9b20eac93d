"""Is each guard watched? Every one is broken once on purpose, and something must go red: `python -m tests.mutation`."""
