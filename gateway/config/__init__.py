"""The config file: what it may say, how it is read and written, and what a change of it would do."""
