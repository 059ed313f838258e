-- Jobs whose messages travel through another broker, when this file is its store. Who waits for them, latches, cells and
-- answers stand in the tables of the first version.
-- {ns}: the namespace.

-- sent: the epoch that the message carries which is out now; epoch: that of the last run. begun: something was written
-- of that run, and lease_until, started and reported are its. keep_until: until then the id of a job that is over is
-- taken; forget_at: when its row goes (NULL: not before all its messages are known to be acknowledged).
CREATE TABLE {ns}_carried (
    id TEXT NOT NULL PRIMARY KEY,
    envelope BLOB NOT NULL,
    record BLOB,
    sent INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at REAL,
    due_at REAL,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    lease_until REAL NOT NULL,
    started INTEGER NOT NULL,
    reported INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    over INTEGER NOT NULL,
    keep_until REAL NOT NULL,
    forget_at REAL
);
CREATE INDEX {ns}_carried_forget ON {ns}_carried (forget_at) WHERE forget_at IS NOT NULL;

-- What is to be sent: messages and a dead letter. content is NULL where all is sent, but the message of `job` that ended
-- may come again. at: since when it is unsent, or when somebody took it to send it.
CREATE TABLE {ns}_unsent (
    key TEXT NOT NULL PRIMARY KEY,
    job TEXT,
    at REAL NOT NULL,
    forget_at REAL NOT NULL,
    content BLOB
);
CREATE INDEX {ns}_unsent_at ON {ns}_unsent (at) WHERE content IS NOT NULL;
CREATE INDEX {ns}_unsent_job ON {ns}_unsent (job) WHERE job IS NOT NULL;
CREATE INDEX {ns}_unsent_forget ON {ns}_unsent (forget_at);

CREATE TABLE {ns}_carried_paused (queue TEXT PRIMARY KEY) WITHOUT ROWID;
