-- Ending leases, and what is remembered of jobs that have ended.

-- name: end_lease
-- takes: seq
DELETE FROM {ns}_leases WHERE seq = ?

-- name: keep_record
-- takes: seq, record, when to forget it (NULL: the job goes on)
INSERT INTO {ns}_records (seq, record, forget_at) VALUES (?, ?, ?)
ON CONFLICT (seq) DO UPDATE SET record = excluded.record, forget_at = excluded.forget_at

-- name: record
-- takes: seq; returns: record
SELECT record FROM {ns}_records WHERE seq = ?

-- name: expire_records
-- takes: when to forget them, ids of jobs as JSON, now
UPDATE {ns}_records SET forget_at = ?1 WHERE forget_at > ?3
AND seq IN (SELECT seq FROM {ns}_jobs WHERE id IN (SELECT value FROM json_each(?2)))

-- name: drop_record
-- takes: seq
DELETE FROM {ns}_records WHERE seq = ?

-- name: drop_job
-- takes: seq
DELETE FROM {ns}_jobs WHERE seq = ?

-- name: drop_history
-- takes: seq
DELETE FROM {ns}_history WHERE seq = ?

-- name: place_of
-- Where a job that has no lease waits, and what it has behind it.
-- takes: seq; returns: queue, rank, task, place, at, attempts, crashes
SELECT j.queue, j.rank, j.task, coalesce(h.place, j.seq), coalesce(h.at, j.at), coalesce(h.attempts, 0),
       coalesce(h.crashes, 0)
FROM {ns}_jobs j LEFT JOIN {ns}_history h ON h.seq = j.seq WHERE j.seq = ?

-- name: forgettable
-- Drops a few records whose time is over.
-- takes: now, how many at most; returns: seq
DELETE FROM {ns}_records WHERE seq IN (
    SELECT seq FROM {ns}_records WHERE forget_at <= ? ORDER BY forget_at LIMIT ?
) RETURNING seq

-- name: bury
-- A dead letter in place of an earlier one of that id.
-- takes: id, queue, task, died_at, epoch, details, bytes
INSERT OR REPLACE INTO {ns}_dead (number, id, queue, task, died_at, epoch, details, bytes)
VALUES ((SELECT coalesce(max(number), 0) + 1 FROM {ns}_dead), ?, ?, ?, ?, ?, ?, ?)

-- name: prune_dead
-- Drops a few dead letters whose time is over.
-- takes: the time before which all are dropped
DELETE FROM {ns}_dead WHERE number IN (SELECT number FROM {ns}_dead WHERE died_at <= ? ORDER BY died_at LIMIT 64)

-- name: drop_surplus_dead
-- Drops a few of the dead letters above the limit: the oldest.
-- takes: how many are kept
DELETE FROM {ns}_dead WHERE number IN (
    SELECT number FROM {ns}_dead ORDER BY died_at DESC, number DESC LIMIT 64 OFFSET ?
)
