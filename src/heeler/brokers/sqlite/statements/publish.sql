-- Making publications real.

-- name: next_seq
-- The seq that follows all numbers that were ever given out.
-- returns: it
SELECT max(last, coalesce((SELECT max(seq) FROM {ns}_jobs), 0)) + 1 FROM {ns}_counter

-- name: draw_place
-- Gives out the next number as a place.
-- returns: it
UPDATE {ns}_counter SET last = max(last, coalesce((SELECT max(seq) FROM {ns}_jobs), 0)) + 1 RETURNING last

-- name: never_again
-- Sees to it that the seq of a dropped job is not given out again.
-- takes: seq
UPDATE {ns}_counter SET last = ?1 WHERE last < ?1

-- name: queue_number
-- The number of a queue, which is made known if it is not.
-- takes: name; returns: number
INSERT INTO {ns}_queues (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING number

-- name: task_number
-- The number of a task's name, which is made known if it is not.
-- takes: name; returns: number
INSERT INTO {ns}_tasks (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING number

-- name: add_job
-- Adds a job; does nothing where its id is taken.
-- takes: seq, id, queue, task, rank, at, expires_at, envelope
INSERT INTO {ns}_jobs (seq, id, queue, task, rank, at, expires_at, envelope)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING

-- name: add_one_job
-- Adds a job behind all others; does nothing where its id is taken. Its seq is the rowid that was inserted last.
-- takes: id, queue, task, rank, at, expires_at, envelope
INSERT INTO {ns}_jobs (seq, id, queue, task, rank, at, expires_at, envelope)
VALUES (
    (SELECT max(last, coalesce((SELECT max(seq) FROM {ns}_jobs), 0)) + 1 FROM {ns}_counter), ?, ?, ?, ?, ?, ?, ?
)
ON CONFLICT (id) DO NOTHING

-- name: add_lone_job
-- Adds a job behind all others and lets it wait; does nothing where somebody sleeps on its queue. Fails where its id is
-- taken.
-- takes: id, queue, task, rank, at, envelope
INSERT INTO {ns}_lone_awake (id, queue, task, rank, at, envelope) VALUES (?, ?, ?, ?, ?, ?)

-- name: added_jobs
-- Which jobs of a run of seqs are there.
-- takes: first seq, last seq; returns: seq
SELECT seq FROM {ns}_jobs WHERE seq BETWEEN ? AND ?

-- name: enqueue_ready
-- Lets the jobs of a run of seqs wait that may start now.
-- takes: first seq, last seq, now
INSERT INTO {ns}_ready (queue, rank, place, seq, task)
SELECT queue, rank, seq, seq, task FROM {ns}_jobs WHERE seq BETWEEN ? AND ? AND at <= ?

-- name: enqueue_scheduled
-- Schedules the jobs of a run of seqs that may start later.
-- takes: first seq, last seq, now
INSERT INTO {ns}_scheduled (queue, at, place, seq, rank, task)
SELECT queue, at, seq, seq, rank, task FROM {ns}_jobs WHERE seq BETWEEN ? AND ? AND at > ?

-- name: holder_of_id
-- Who has an id.
-- takes: id; returns: seq, envelope, when it is to be forgotten (NULL: it has not ended)
SELECT j.seq, j.envelope, r.forget_at
FROM {ns}_jobs j LEFT JOIN {ns}_records r ON r.seq = j.seq WHERE j.id = ?

-- name: write_history
-- What a job has behind it, in place of what was known before.
-- takes: seq, place, at, epoch, attempts, crashes, suspect, note
INSERT INTO {ns}_history (seq, place, at, epoch, attempts, crashes, suspect, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (seq) DO UPDATE SET place = excluded.place, at = excluded.at, epoch = excluded.epoch, held = 0, started = 0,
attempts = excluded.attempts, crashes = excluded.crashes, suspect = excluded.suspect, note = excluded.note

-- name: cell
-- takes: name; returns: value
SELECT value FROM {ns}_cells WHERE name = ?

-- name: set_cell
-- takes: name, value, when it is due (NULL: at no time)
INSERT OR REPLACE INTO {ns}_cells (name, value, due_at) VALUES (?, ?, ?)

-- name: clear_cell
-- takes: name
DELETE FROM {ns}_cells WHERE name = ?

-- name: answers
-- The answers of a call that was carried out.
-- takes: verb, session, number, the time before which calls are forgotten; returns: answers
SELECT answers FROM {ns}_answers WHERE verb = ? AND session = ? AND number = ? AND at > ?

-- name: keep_answers
-- takes: verb, session, number, at, answers
INSERT OR REPLACE INTO {ns}_answers (verb, session, number, at, answers) VALUES (?, ?, ?, ?, ?)

-- name: prune_answers
-- takes: the time before which calls are forgotten
DELETE FROM {ns}_answers WHERE (verb, session, number) IN (
    SELECT verb, session, number FROM {ns}_answers WHERE at <= ? ORDER BY at LIMIT 8
)
