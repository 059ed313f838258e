-- Subscriptions that sleep, and whom to wake.

-- name: sleep
-- takes: queue, address, alarm, skips
INSERT OR REPLACE INTO {ns}_sleepers (queue, address, alarm, skips) VALUES (?, ?, ?, ?)

-- name: wake
-- Takes a sleeper off the list.
-- takes: address
DELETE FROM {ns}_sleepers WHERE address = ?

-- name: sleepers
-- Who sleeps on a queue, those without an alarm first.
-- takes: queue; returns: address, skips
SELECT address, skips FROM {ns}_sleepers WHERE queue = ? ORDER BY alarm IS NOT NULL

-- name: earliest_alarm
-- takes: queue, the time before which an alarm must have been slept through by the dead
-- returns: when the first of its sleepers wakes by itself, NULL if none does
SELECT min(alarm) FROM {ns}_sleepers WHERE queue = ? AND alarm > ?

-- name: is_asleep
-- takes: queue, address; returns: a row if it is on the list
SELECT 1 FROM {ns}_sleepers WHERE queue = ? AND address = ?

-- name: is_work_waiting
-- takes: queue; returns: a row if a job waits and the queue is not paused
SELECT 1 FROM {ns}_ready WHERE queue = ?1 AND NOT EXISTS (SELECT 1 FROM {ns}_queues WHERE number = ?1 AND paused) LIMIT 1

-- name: is_paused
-- takes: queue; returns: a row if it is paused
SELECT 1 FROM {ns}_queues WHERE number = ? AND paused

-- name: first_tasks
-- The tasks of the first jobs of a queue.
-- takes: queue, how many jobs; returns: task
SELECT DISTINCT task FROM (SELECT task FROM {ns}_ready WHERE queue = ? ORDER BY rank, place LIMIT ?)

-- name: next_due
-- takes: queue; returns: when its next scheduled job is due
SELECT at FROM {ns}_scheduled WHERE queue = ? ORDER BY at LIMIT 1

-- name: next_lapse
-- returns: when the next lease runs out
SELECT until FROM {ns}_leases ORDER BY until LIMIT 1
