-- Jobs whose messages travel through another broker.

-- name: carried_jobs
-- takes: ids as JSON; returns: id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun,
-- lease_until, started, reported, cancelled, over, keep_until
SELECT id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported,
       cancelled, over, keep_until
FROM {ns}_carried WHERE id IN (SELECT value FROM json_each(?))

-- name: carried_last
-- The jobs that were taken down last.
-- takes: the rowid below which to begin, how many at most; returns: rowid, and what carried_jobs returns
SELECT rowid, id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started,
       reported, cancelled, over, keep_until
FROM {ns}_carried WHERE rowid < ? ORDER BY rowid DESC LIMIT ?

-- name: carried_row
-- takes: id; returns: rowid
SELECT rowid FROM {ns}_carried WHERE id = ?

-- name: add_carried
-- A job in the place of what is there under its id.
-- takes: id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started,
-- reported, cancelled, over, keep_until
INSERT OR REPLACE INTO {ns}_carried (
    id, envelope, record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported,
    cancelled, over, keep_until
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_carried
-- takes: record, sent, epoch, expires_at, due_at, attempts, crashes, begun, lease_until, started, reported, cancelled,
-- over, keep_until, id
UPDATE {ns}_carried SET record = ?, sent = ?, epoch = ?, expires_at = ?, due_at = ?, attempts = ?, crashes = ?,
begun = ?, lease_until = ?, started = ?, reported = ?, cancelled = ?, over = ?, keep_until = ? WHERE id = ?

-- name: drop_carried
-- takes: id
DELETE FROM {ns}_carried WHERE id = ?

-- name: forget_carried_later
-- Jobs that are over and of which nothing is left to be acknowledged.
-- takes: the earliest time at which they may go, ids as JSON
UPDATE {ns}_carried SET forget_at = max(keep_until, ?)
WHERE over AND id IN (SELECT value FROM json_each(?))
AND NOT EXISTS (SELECT 1 FROM {ns}_unsent WHERE job = {ns}_carried.id)

-- name: expire_carried
-- takes: until when to keep what is known of them, ids as JSON, now, the earliest time at which they may go
UPDATE {ns}_carried SET keep_until = ?1, forget_at = CASE WHEN forget_at IS NULL THEN NULL ELSE max(?1, ?4) END
WHERE over AND keep_until > ?3 AND id IN (SELECT value FROM json_each(?2))

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
-- What was sent, where the message that ended may come again.
-- takes: keys as JSON
UPDATE {ns}_unsent SET content = NULL WHERE job IS NOT NULL AND key IN (SELECT value FROM json_each(?))

-- name: drop_unsent
-- takes: keys as JSON, whether also those where a message that ended may come again; returns: job
DELETE FROM {ns}_unsent WHERE key IN (SELECT value FROM json_each(?)) AND (? OR job IS NULL) RETURNING job

-- name: stale_unsent
-- Errands that nobody will ever clear.
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
