"""The command line. `run` is on the way to the first poll and imports no more than it needs."""
