-- Schedules: what each is stands here, how far it is and when it is due in its cell, which guarded publications move.
-- {ns}: the namespace.

ALTER TABLE {ns}_cells ADD COLUMN due_at REAL;
CREATE INDEX {ns}_cells_due ON {ns}_cells (due_at) WHERE due_at IS NOT NULL;

-- origin: the code that declares it; empty where it was added at run time.
CREATE TABLE {ns}_schedules (name TEXT NOT NULL PRIMARY KEY, origin TEXT NOT NULL, definition BLOB NOT NULL);
CREATE INDEX {ns}_schedules_origin ON {ns}_schedules (origin, name) WHERE origin <> '';
