-- Jobs whose messages travel through another broker.

-- name: carried_job
-- takes: id; returns: envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported, cancelled, over, keep_until
SELECT envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported,
       cancelled, over, keep_until
FROM {ns}_carried WHERE id = ?

-- name: add_carried
-- A job in the place of what is there under its id.
-- takes: id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported, cancelled, over, keep_until
INSERT OR REPLACE INTO {ns}_carried (
    id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported,
    cancelled, over, keep_until
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_carried
-- takes: record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported, cancelled, over, keep_until, id
UPDATE {ns}_carried SET record = ?, sent = ?, epoch = ?, expires_at = ?, due_at = ?, attempts = ?, crashes = ?,
begun = ?, lease_until = ?, started = ?, reported = ?, cancelled = ?, over = ?, keep_until = ? WHERE id = ?

-- name: drop_carried
-- takes: id
DELETE FROM {ns}_carried WHERE id = ?

-- name: forget_carried_later
-- A job that is over and of which nothing is left to be acknowledged.
-- takes: the earliest time at which it may go, id
UPDATE {ns}_carried SET forget_at = max(keep_until, ?) WHERE id = ? AND over

-- name: prune_carried
-- takes: now, how many at most
DELETE FROM {ns}_carried WHERE id IN (
    SELECT id FROM {ns}_carried WHERE forget_at <= ?1 AND over AND keep_until <= ?1 ORDER BY forget_at LIMIT ?2
)

-- name: write_unsent
-- takes: key, job or NULL, at, forget_at, content
INSERT OR REPLACE INTO {ns}_unsent (key, job, at, forget_at, content) VALUES (?, ?, ?, ?, ?)

-- name: unsent
-- takes: key; returns: key, job, forget_at, content
SELECT key, job, forget_at, content FROM {ns}_unsent WHERE key = ?

-- name: unsent_before
-- Oldest first.
-- takes: the time, how many at most; returns: key, job, forget_at, content
SELECT key, job, forget_at, content FROM {ns}_unsent WHERE content IS NOT NULL AND at <= ? ORDER BY at LIMIT ?

-- name: took_unsent
-- takes: now, key
UPDATE {ns}_unsent SET at = ? WHERE key = ?

-- name: sent_only
-- A publication is forgotten when it is sent; the end of a message stays.
-- takes: key; returns: job
UPDATE {ns}_unsent SET content = NULL WHERE key = ? RETURNING job

-- name: drop_unsent
-- takes: key; returns: job
DELETE FROM {ns}_unsent WHERE key = ? RETURNING job

-- name: is_anything_unacknowledged
-- takes: job; returns: a row if a message of it has ended that may come again
SELECT 1 FROM {ns}_unsent WHERE job = ? LIMIT 1

-- name: stale_unsent
-- Notes that nobody will ever clear.
-- takes: now; returns: key
SELECT key FROM {ns}_unsent WHERE forget_at <= ? ORDER BY forget_at LIMIT 8

-- name: pause_carried
-- takes: queue
INSERT OR IGNORE INTO {ns}_carried_paused (queue) VALUES (?)

-- name: resume_carried
-- takes: queue
DELETE FROM {ns}_carried_paused WHERE queue = ?

-- name: carried_paused
-- returns: queue
SELECT queue FROM {ns}_carried_paused
