-- Looking at queues and dead letters, and tidying them.

-- name: all_queues
-- returns: number, name, paused
SELECT number, name, paused FROM {ns}_queues ORDER BY name

-- name: set_paused
-- takes: paused, number
UPDATE {ns}_queues SET paused = ? WHERE number = ?

-- name: count_waiting
-- takes: queue; returns: how many
SELECT count(*) FROM {ns}_ready WHERE queue = ?

-- name: count_scheduled
-- takes: queue, now; returns: how many are due, how many are not
SELECT coalesce(sum(at <= ?2), 0), coalesce(sum(at > ?2), 0) FROM {ns}_scheduled WHERE queue = ?1

-- name: count_leased
-- takes: now; returns: queue, how many leases run, how many ran out
SELECT j.queue, sum(l.until > ?1), sum(l.until <= ?1)
FROM {ns}_leases l CROSS JOIN {ns}_jobs j ON j.seq = l.seq GROUP BY j.queue

-- name: count_dead
-- takes: the time before which all are dropped; returns: queue, how many
SELECT queue, count(*) FROM {ns}_dead WHERE died_at > ? GROUP BY queue

-- name: oldest_by_rank
-- The job that has waited longest on each level of a queue: found by leaping from level to level.
-- takes: queue; returns: since when it waits
WITH RECURSIVE levels (rank) AS (
    SELECT min(rank) FROM {ns}_ready WHERE queue = ?1
    UNION ALL
    SELECT (SELECT min(rank) FROM {ns}_ready WHERE queue = ?1 AND rank > levels.rank) FROM levels WHERE rank IS NOT NULL
)
SELECT coalesce(h.at, j.at) FROM levels
JOIN {ns}_ready r ON r.queue = ?1 AND r.rank = levels.rank
    AND r.place = (SELECT min(place) FROM {ns}_ready WHERE queue = ?1 AND rank = levels.rank)
JOIN {ns}_jobs j ON j.seq = r.seq LEFT JOIN {ns}_history h ON h.seq = r.seq
WHERE levels.rank IS NOT NULL

-- name: waiting_ids
-- Waiting jobs of a queue in the order in which they would start.
-- takes: queue, rank and place after which to begin, how many at most; returns: id
SELECT j.id FROM {ns}_ready r JOIN {ns}_jobs j ON j.seq = r.seq
WHERE r.queue = ? AND (r.rank, r.place) > (?, ?) ORDER BY r.rank, r.place LIMIT ?

-- name: scheduled_ids
-- Scheduled jobs of a queue in the order in which they come due.
-- takes: queue, time and place after which to begin, how many at most; returns: id
SELECT j.id FROM {ns}_scheduled s JOIN {ns}_jobs j ON j.seq = s.seq
WHERE s.queue = ? AND (s.at, s.place) > (?, ?) ORDER BY s.at, s.place LIMIT ?

-- name: running_ids
-- Leased jobs of a queue by level and place. CROSS JOIN: the leases are few, so they are to be gone through.
-- takes: queue, rank and place after which to begin, how many at most; returns: id
SELECT j.id FROM {ns}_leases l CROSS JOIN {ns}_jobs j ON j.seq = l.seq LEFT JOIN {ns}_history h ON h.seq = l.seq
WHERE j.queue = ? AND (j.rank, coalesce(h.place, j.seq)) > (?, ?) ORDER BY j.rank, coalesce(h.place, j.seq) LIMIT ?

-- name: position
-- Where a job stands, for going on after it.
-- takes: id; returns: queue, rank, at, place, in ready, in scheduled, leased
SELECT j.queue, j.rank, coalesce(h.at, j.at) AS since, coalesce(h.place, j.seq) AS spot,
       EXISTS (SELECT 1 FROM {ns}_ready WHERE queue = j.queue AND rank = j.rank AND place = coalesce(h.place, j.seq)),
       EXISTS (SELECT 1 FROM {ns}_scheduled
               WHERE queue = j.queue AND at = coalesce(h.at, j.at) AND place = coalesce(h.place, j.seq)),
       EXISTS (SELECT 1 FROM {ns}_leases WHERE seq = j.seq)
FROM {ns}_jobs j LEFT JOIN {ns}_history h ON h.seq = j.seq WHERE j.id = ?

-- name: first_waiting
-- takes: queue, place from which on they stay, how many at most; returns: seq, envelope
SELECT r.seq, j.envelope FROM {ns}_ready r JOIN {ns}_jobs j ON j.seq = r.seq
WHERE r.queue = ? AND r.place < ? ORDER BY r.rank, r.place LIMIT ?

-- name: first_scheduled
-- takes: queue, place from which on they stay, how many at most; returns: seq, envelope
SELECT s.seq, j.envelope FROM {ns}_scheduled s JOIN {ns}_jobs j ON j.seq = s.seq
WHERE s.queue = ? AND s.place < ? ORDER BY s.at, s.place LIMIT ?

-- name: dead_letters
-- Newest first.
-- takes: the time before which all are dropped, queue or NULL, task or NULL, number below which to begin, how many
-- returns: number, id, queue's name, task, died_at, epoch, details, bytes
SELECT d.number, d.id, q.name, d.task, d.died_at, d.epoch, d.details, d.bytes
FROM {ns}_dead d JOIN {ns}_queues q ON q.number = d.queue
WHERE d.died_at > ?1 AND (?2 IS NULL OR q.name = ?2) AND (?3 IS NULL OR d.task = ?3) AND d.number < ?4
ORDER BY d.number DESC LIMIT ?5

-- name: dead_letters_by_id
-- takes: the time before which all are dropped, ids as JSON
-- returns: number, id, queue's name, task, died_at, epoch, details, bytes
SELECT d.number, d.id, q.name, d.task, d.died_at, d.epoch, d.details, d.bytes
FROM {ns}_dead d JOIN {ns}_queues q ON q.number = d.queue
WHERE d.died_at > ? AND d.id IN (SELECT value FROM json_each(?)) ORDER BY d.number

-- name: oldest_dead
-- Oldest first, for working through them batch by batch.
-- takes: the time before which all are dropped, queue or NULL, task or NULL, number above which to begin, last number,
-- how many
-- returns: number, id, queue's name, task, died_at, epoch, details, bytes
SELECT d.number, d.id, q.name, d.task, d.died_at, d.epoch, d.details, d.bytes
FROM {ns}_dead d JOIN {ns}_queues q ON q.number = d.queue
WHERE d.died_at > ?1 AND (?2 IS NULL OR q.name = ?2) AND (?3 IS NULL OR d.task = ?3)
    AND d.number > ?4 AND d.number <= ?5
ORDER BY d.number LIMIT ?6

-- name: last_dead
-- returns: the number of the dead letter that was added last, 0 where there is none
SELECT coalesce(max(number), 0) FROM {ns}_dead

-- name: dead_number
-- takes: id; returns: number
SELECT number FROM {ns}_dead WHERE id = ?

-- name: drop_dead
-- takes: number
DELETE FROM {ns}_dead WHERE number = ?
