"""The documentation, done: what stands in a fence is run, and what a link names is there."""
