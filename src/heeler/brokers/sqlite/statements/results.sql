-- Records for readers, cancelling, and who hears of what.

-- name: known_jobs
-- All that is known of jobs by id.
-- takes: ids as JSON
-- returns: id, seq, envelope, record, forget_at, at, attempts, crashes, until, reported
SELECT j.id, j.seq, j.envelope, r.record, r.forget_at, coalesce(h.at, j.at), coalesce(h.attempts, 0),
       coalesce(h.crashes, 0), l.until, l.reported
FROM {ns}_jobs j LEFT JOIN {ns}_records r ON r.seq = j.seq LEFT JOIN {ns}_history h ON h.seq = j.seq
LEFT JOIN {ns}_leases l ON l.seq = j.seq
WHERE j.id IN (SELECT value FROM json_each(?))

-- name: mark_cancelled
-- takes: seq
UPDATE {ns}_leases SET cancelled = 1 WHERE seq = ?

-- name: is_anything_watched
-- returns: a row if somebody watches some id
SELECT 1 FROM {ns}_watches LIMIT 1

-- name: watchers
-- takes: ids as JSON; returns: id, address
SELECT id, address FROM {ns}_watches WHERE id IN (SELECT value FROM json_each(?))

-- name: watch
-- takes: id, address
INSERT OR IGNORE INTO {ns}_watches (id, address) VALUES (?, ?)

-- name: unwatch
-- takes: id, address
DELETE FROM {ns}_watches WHERE id = ? AND address = ?

-- name: unwatch_all
-- takes: address
DELETE FROM {ns}_watches WHERE address = ?
