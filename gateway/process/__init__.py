"""The process: its file, its signals, its lock, and the work that the lifecycle asks for."""
