-- The tables of one namespace. What a job is stands in `jobs` and never changes; where it is says which of
-- ready, scheduled, leases and records has its seq. So a job on its way rewrites a few bytes, not its envelope.
-- {ns}: the namespace. Versions only go forward: a change is a new file beside this one.

CREATE TABLE {ns}_version (version INTEGER NOT NULL);
INSERT INTO {ns}_version VALUES (0);

-- Seqs and places are drawn from one sequence, so that both grow in publish order and never repeat: the next one follows
-- the last job, or `last` where that is larger, because jobs were dropped or places drawn.
-- returns counts the steps in which jobs came back to an earlier place.
CREATE TABLE {ns}_counter (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL,
    returns INTEGER NOT NULL
);
INSERT INTO {ns}_counter VALUES (1, 0, 0);

CREATE TABLE {ns}_queues (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, paused INTEGER NOT NULL DEFAULT 0);
CREATE INDEX {ns}_queues_paused ON {ns}_queues (number) WHERE paused;

CREATE TABLE {ns}_tasks (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- rank is the priority negated, so that an ascending scan starts with the most urgent. at is the time from which it
-- may start: that of its publication, or a later one. expires_at is NULL where it may start however late.
CREATE TABLE {ns}_jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue INTEGER NOT NULL,
    task INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    at REAL NOT NULL,
    expires_at REAL,
    envelope BLOB NOT NULL
);

CREATE TABLE {ns}_ready (
    queue INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    place INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (queue, rank, place)
) WITHOUT ROWID;

CREATE TABLE {ns}_scheduled (
    queue INTEGER NOT NULL,
    at REAL NOT NULL,
    place INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (queue, at, place)
) WITHOUT ROWID;

-- started: if this lease is lost, that is a crash. reported: its run has told that it goes on.
CREATE TABLE {ns}_leases (
    seq INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    until REAL NOT NULL,
    started INTEGER NOT NULL DEFAULT 0,
    reported INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX {ns}_leases_until ON {ns}_leases (until);

-- What a job has behind it. One on its first straight way has no row here: its place is its seq. epoch is that of the
-- last lease that ended. held: that lease ran out, and until the next one begins its holder may still settle or renew
-- it; started and reported are that lease's.
CREATE TABLE {ns}_history (
    seq INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    at REAL NOT NULL,
    epoch INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0,
    started INTEGER NOT NULL DEFAULT 0,
    reported INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    suspect INTEGER NOT NULL DEFAULT 0,
    note BLOB NOT NULL DEFAULT x''
);

-- What is stored about a job's runs. forget_at is NULL until it ended; record is NULL where only the id is kept.
CREATE TABLE {ns}_records (seq INTEGER PRIMARY KEY, record BLOB, forget_at REAL);
CREATE INDEX {ns}_records_forget ON {ns}_records (forget_at) WHERE forget_at IS NOT NULL;

-- details: reason, errors, counters; bytes: the envelope as it was published, or what could not be read as one.
CREATE TABLE {ns}_dead (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue INTEGER NOT NULL,
    task TEXT NOT NULL,
    died_at REAL NOT NULL,
    epoch INTEGER NOT NULL,
    details BLOB NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX {ns}_dead_at ON {ns}_dead (died_at);

-- rule is NULL where members arrived before their latch; broke: its `on_break` has been let go; forget_at is NULL while
-- it is open. What it lets go stands apart, so that an arrival rewrites counts only.
CREATE TABLE {ns}_latches (
    id TEXT PRIMARY KEY,
    rule TEXT,
    total INTEGER,
    keep REAL NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    ok INTEGER NOT NULL,
    not_ok INTEGER NOT NULL,
    broke INTEGER NOT NULL,
    forget_at REAL
) WITHOUT ROWID;
CREATE TABLE {ns}_latch_contents (id TEXT PRIMARY KEY, latch BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX {ns}_latches_forget ON {ns}_latches (forget_at) WHERE forget_at IS NOT NULL;

CREATE TABLE {ns}_arrivals (
    latch TEXT NOT NULL,
    member INTEGER NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (latch, member)
) WITHOUT ROWID;

CREATE TABLE {ns}_cells (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- The answers to calls that carry an id, for repeats after a lost reply.
CREATE TABLE {ns}_answers (
    verb TEXT NOT NULL,
    session TEXT NOT NULL,
    number INTEGER NOT NULL,
    at REAL NOT NULL,
    answers BLOB NOT NULL,
    PRIMARY KEY (verb, session, number)
) WITHOUT ROWID;
CREATE INDEX {ns}_answers_at ON {ns}_answers (at);

-- Subscriptions that found nothing: whom a publisher wakes. alarm: the time at which it wakes by itself, if any;
-- skips: the numbers of tasks that it does not take, as JSON, if any.
CREATE TABLE {ns}_sleepers (
    queue INTEGER NOT NULL,
    address TEXT NOT NULL,
    alarm REAL,
    skips TEXT,
    PRIMARY KEY (queue, address)
) WITHOUT ROWID;

CREATE TABLE {ns}_watches (id TEXT NOT NULL, address TEXT NOT NULL, PRIMARY KEY (id, address)) WITHOUT ROWID;
CREATE INDEX {ns}_watches_address ON {ns}_watches (address);

CREATE TABLE {ns}_workers (id TEXT PRIMARY KEY, until REAL NOT NULL, presence BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE {ns}_listeners (worker TEXT PRIMARY KEY, address TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE {ns}_commands (
    number INTEGER PRIMARY KEY,
    worker TEXT NOT NULL,
    until REAL NOT NULL,
    command BLOB NOT NULL
);
