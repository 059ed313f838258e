-- What readers know of latches.
-- {ns}: the namespace.

-- ticks: arrivals without a place; forced: it was broken from outside, whatever has arrived; lifted: a member lives again
-- since it was broken; broken_by: the job that broke it; touched_at: when it was published last; scope: the latch around.
ALTER TABLE {ns}_latches ADD COLUMN ticks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {ns}_latches ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {ns}_latches ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {ns}_latches ADD COLUMN lifted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {ns}_latches ADD COLUMN broken_by TEXT NOT NULL DEFAULT '';
ALTER TABLE {ns}_latches ADD COLUMN touched_at REAL NOT NULL DEFAULT 0;
ALTER TABLE {ns}_latches ADD COLUMN scope TEXT;
