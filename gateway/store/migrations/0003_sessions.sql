-- Sessions with networks that count how often one is started, by who the bot is there: the one to take up again, if there is one,
-- and when those of the last day were started, as a JSON array of wall-clock milliseconds, oldest first.
CREATE TABLE sessions (
    identity TEXT PRIMARY KEY,
    session TEXT,
    starts TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
