-- Records for readers, cancelling, and who hears of what.

-- name: known_jobs
-- All that is known of jobs by id.
-- takes: ids as JSON
-- returns: id, seq, envelope, record, forget_at, at, attempts, crashes, until, reported, expires_at, held
SELECT j.id, j.seq, j.envelope, r.record, r.forget_at, coalesce(h.at, j.at), coalesce(h.attempts, 0),
       coalesce(h.crashes, 0), l.until, l.reported, j.expires_at, coalesce(h.held, 0)
FROM {ns}_jobs j LEFT JOIN {ns}_records r ON r.seq = j.seq LEFT JOIN {ns}_history h ON h.seq = j.seq
LEFT JOIN {ns}_leases l ON l.seq = j.seq
WHERE j.id IN (SELECT value FROM json_each(?))

-- name: published_last
-- All that is known of jobs, the one published last first.
-- takes: the seq below which to begin, how many at most
-- returns: what known_jobs returns, and the time from which on it might start at first
SELECT j.id, j.seq, j.envelope, r.record, r.forget_at, coalesce(h.at, j.at), coalesce(h.attempts, 0),
       coalesce(h.crashes, 0), l.until, l.reported, j.expires_at, coalesce(h.held, 0), j.at
FROM (SELECT * FROM {ns}_jobs WHERE seq < ? ORDER BY seq DESC LIMIT ?) j
LEFT JOIN {ns}_records r ON r.seq = j.seq LEFT JOIN {ns}_history h ON h.seq = j.seq
LEFT JOIN {ns}_leases l ON l.seq = j.seq
ORDER BY j.seq DESC

-- name: published_last_of
-- The same of some jobs.
-- takes: seqs as JSON
-- returns: what known_jobs returns, and the time from which on it might start at first
SELECT j.id, j.seq, j.envelope, r.record, r.forget_at, coalesce(h.at, j.at), coalesce(h.attempts, 0),
       coalesce(h.crashes, 0), l.until, l.reported, j.expires_at, coalesce(h.held, 0), j.at
FROM {ns}_jobs j
LEFT JOIN {ns}_records r ON r.seq = j.seq LEFT JOIN {ns}_history h ON h.seq = j.seq
LEFT JOIN {ns}_leases l ON l.seq = j.seq
WHERE j.seq IN (SELECT value FROM json_each(?)) ORDER BY j.seq DESC

-- name: live_seqs
-- Jobs that have not ended.
-- takes: whether those on lease, whether scheduled ones, whether those that wait, how many at most; returns: seq
SELECT seq FROM {ns}_leases WHERE ? UNION ALL SELECT seq FROM {ns}_scheduled WHERE ?
UNION ALL SELECT seq FROM {ns}_ready WHERE ? LIMIT ?

-- name: mark_cancelled
-- takes: seq
UPDATE {ns}_leases SET cancelled = 1 WHERE seq = ?

-- name: is_anything_watched
-- returns: a row if somebody watches some id
SELECT 1 FROM {ns}_watches LIMIT 1

-- name: watchers
-- takes: ids as JSON; returns: id, address
SELECT id, address FROM {ns}_watches WHERE id IN (SELECT value FROM json_each(?))

-- name: watchers_of
-- takes: id; returns: address
SELECT address FROM {ns}_watches WHERE id = ?

-- name: watch
-- takes: id, address
INSERT OR IGNORE INTO {ns}_watches (id, address) VALUES (?, ?)

-- name: unwatch
-- takes: id, address
DELETE FROM {ns}_watches WHERE id = ? AND address = ?

-- name: unwatch_all
-- takes: address
DELETE FROM {ns}_watches WHERE address = ?
