"""What outlives the process: messages, offsets, the journal, requests. One SQLite file, one thread that writes it."""
