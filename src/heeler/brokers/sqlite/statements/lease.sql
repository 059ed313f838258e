-- Leasing jobs out and keeping leases.

-- name: paused_queues
-- returns: number
SELECT number FROM {ns}_queues WHERE paused

-- name: come_due
-- Scheduled jobs of a queue whose time has come.
-- takes: queue, now, how many at most; returns: rank, seq, task, at, place
SELECT rank, seq, task, at, place FROM {ns}_scheduled WHERE queue = ? AND at <= ? ORDER BY at, place LIMIT ?

-- name: unschedule
-- takes: queue, at, place
DELETE FROM {ns}_scheduled WHERE queue = ? AND at = ? AND place = ?

-- name: unschedule_until
-- Takes the first scheduled jobs of a queue, up to one of them, out of it.
-- takes: queue, at, place
DELETE FROM {ns}_scheduled WHERE queue = ? AND (at, place) <= (?, ?)

-- name: schedule
-- takes: queue, at, place, seq, rank, task
INSERT INTO {ns}_scheduled (queue, at, place, seq, rank, task) VALUES (?, ?, ?, ?, ?, ?)

-- name: make_ready
-- takes: queue, rank, place, seq, task
INSERT INTO {ns}_ready (queue, rank, place, seq, task) VALUES (?, ?, ?, ?, ?)

-- name: lapsed_leases
-- Leases that ran out.
-- takes: now, how many at most; returns: queue, rank, place, seq, task
SELECT j.queue, j.rank, coalesce(h.place, l.seq), l.seq, j.task
FROM {ns}_leases l JOIN {ns}_jobs j ON j.seq = l.seq LEFT JOIN {ns}_history h ON h.seq = l.seq
WHERE l.until <= ? ORDER BY l.until LIMIT ?

-- name: remember_lapse
-- Writes a lease that ran out into the job's history.
-- takes: now, seq
INSERT INTO {ns}_history (seq, place, at, epoch, held, started, reported, cancelled)
SELECT seq, seq, ?, epoch, 1, started, reported, cancelled FROM {ns}_leases WHERE seq = ?
ON CONFLICT (seq) DO UPDATE SET at = excluded.at, epoch = excluded.epoch, held = 1, started = excluded.started,
reported = excluded.reported, cancelled = excluded.cancelled

-- name: next_jobs
-- The next waiting jobs of a queue, with what they have behind them.
-- takes: queue, how many at most
-- returns: queue, rank, place, seq, expires_at, envelope, epoch, attempts, crashes, suspect, note, held, started, cancelled
SELECT r.queue, r.rank, r.place, r.seq, j.expires_at, j.envelope,
       h.epoch, h.attempts, h.crashes, h.suspect, h.note, h.held, h.started, h.cancelled
FROM {ns}_ready r JOIN {ns}_jobs j ON j.seq = r.seq LEFT JOIN {ns}_history h ON h.seq = r.seq
WHERE r.queue = ? ORDER BY r.rank, r.place LIMIT ?

-- name: next_jobs_but
-- The next waiting jobs of one level of a queue, passing over some tasks.
-- takes: queue, rank, place after which to begin, the tasks' numbers as JSON, how many at most
-- returns: queue, rank, place, seq, expires_at, envelope, epoch, attempts, crashes, suspect, note, held, started, cancelled
SELECT r.queue, r.rank, r.place, r.seq, j.expires_at, j.envelope,
       h.epoch, h.attempts, h.crashes, h.suspect, h.note, h.held, h.started, h.cancelled
FROM {ns}_ready r JOIN {ns}_jobs j ON j.seq = r.seq LEFT JOIN {ns}_history h ON h.seq = r.seq
WHERE r.queue = ? AND r.rank = ? AND r.place > ? AND r.task NOT IN (SELECT value FROM json_each(?))
ORDER BY r.place LIMIT ?

-- name: next_rank
-- takes: queue, rank before it; returns: the next level on which a job waits, NULL if there is none
SELECT min(rank) FROM {ns}_ready WHERE queue = ? AND rank > ?

-- name: last_place
-- takes: queue, rank; returns: the place of the last job that waits on that level
SELECT max(place) FROM {ns}_ready WHERE queue = ? AND rank = ?

-- name: is_other_job_waiting
-- takes: queue, rank, place after which to begin, numbers of tasks as JSON; returns: a row if a job of another task waits
SELECT 1 FROM {ns}_ready
WHERE queue = ? AND rank = ? AND place > ? AND task NOT IN (SELECT value FROM json_each(?)) LIMIT 1

-- name: returns
-- returns: how often jobs have come back to an earlier place
SELECT returns FROM {ns}_counter

-- name: count_return
UPDATE {ns}_counter SET returns = returns + 1

-- name: lease_front
-- Leases the first waiting jobs of a queue, up to one of them.
-- takes: until, queue, rank, place
INSERT INTO {ns}_leases (seq, epoch, until)
SELECT r.seq, 1 + coalesce(h.epoch, 0), ?
FROM {ns}_ready r LEFT JOIN {ns}_history h ON h.seq = r.seq WHERE r.queue = ? AND (r.rank, r.place) <= (?, ?)

-- name: leave_front
-- Takes the first waiting jobs of a queue, up to one of them, out of it.
-- takes: queue, rank, place
DELETE FROM {ns}_ready WHERE queue = ? AND (rank, place) <= (?, ?)

-- name: lease
-- takes: seq, epoch, until
INSERT INTO {ns}_leases (seq, epoch, until) VALUES (?, ?, ?)

-- name: leave_ready
-- takes: queue, rank, place
DELETE FROM {ns}_ready WHERE queue = ? AND rank = ? AND place = ?

-- name: charge_lapse
-- A new lease begins on a job whose last one ran out: now that one is lost.
-- takes: seq
UPDATE {ns}_history SET suspect = 1, crashes = crashes + started, held = 0, started = 0 WHERE seq = ?

-- name: leases
-- Which leases are held.
-- takes: seqs as JSON; returns: seq, epoch, cancelled
SELECT seq, epoch, cancelled FROM {ns}_leases WHERE seq IN (SELECT value FROM json_each(?))

-- name: held_lapse
-- A lease that ran out, as long as no other has begun: where its job waits.
-- takes: seq, epoch; returns: queue, rank, place, cancelled
SELECT j.queue, j.rank, h.place, h.cancelled
FROM {ns}_history h JOIN {ns}_jobs j ON j.seq = h.seq WHERE h.seq = ? AND h.epoch = ? AND h.held = 1

-- name: renew
-- takes: until, started, reported, seq
UPDATE {ns}_leases SET until = ?, started = started OR ?, reported = reported OR ? WHERE seq = ?

-- name: revive_lease
-- A lease that ran out goes on, because no other has begun.
-- takes: until, seq
INSERT INTO {ns}_leases (seq, epoch, until, started, reported, cancelled)
SELECT seq, epoch, ?, started, reported, cancelled FROM {ns}_history WHERE seq = ?

-- name: end_lapse
-- The same: the last lease that ended is the one before it.
-- takes: seq
UPDATE {ns}_history SET held = 0, started = 0, epoch = epoch - 1 WHERE seq = ?

-- name: id_of
-- takes: seq; returns: id
SELECT id FROM {ns}_jobs WHERE seq = ?
