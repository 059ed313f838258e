-- Latches and who has arrived at them.

-- name: latch
-- takes: id; returns: rule, total, keep, state, ok, not_ok, broke, forget_at, ticks, forced, cancelled, lifted, broken_by,
-- touched_at, scope
SELECT rule, total, keep, state, ok, not_ok, broke, forget_at, ticks, forced, cancelled, lifted, broken_by, touched_at,
       scope
FROM {ns}_latches WHERE id = ?

-- name: write_latch
-- takes: id, rule, total, keep, state, ok, not_ok, broke, forget_at, ticks, forced, cancelled, lifted, broken_by,
-- touched_at, scope
INSERT OR REPLACE INTO {ns}_latches (
    id, rule, total, keep, state, ok, not_ok, broke, forget_at, ticks, forced, cancelled, lifted, broken_by, touched_at,
    scope
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: latch_content
-- takes: id; returns: latch
SELECT latch FROM {ns}_latch_contents WHERE id = ?

-- name: write_latch_content
-- takes: id, latch
INSERT OR REPLACE INTO {ns}_latch_contents (id, latch) VALUES (?, ?)

-- name: drop_latch_content
-- takes: id
DELETE FROM {ns}_latch_contents WHERE id = ?

-- name: arrival
-- takes: latch, member; returns: kind
SELECT kind FROM {ns}_arrivals WHERE latch = ? AND member = ?

-- name: write_arrival
-- takes: latch, member, kind
INSERT OR REPLACE INTO {ns}_arrivals (latch, member, kind) VALUES (?, ?, ?)

-- name: some_arrivals
-- takes: latch, members as JSON; returns: member, kind
SELECT member, kind FROM {ns}_arrivals WHERE latch = ? AND member IN (SELECT value FROM json_each(?))

-- name: write_arrivals
-- takes: latch, kind, members as JSON
INSERT OR REPLACE INTO {ns}_arrivals (latch, member, kind) SELECT ?1, value, ?2 FROM json_each(?3)

-- name: drop_arrival
-- takes: latch, member
DELETE FROM {ns}_arrivals WHERE latch = ? AND member = ?

-- name: expire_latches
-- takes: when to forget them, ids as JSON, now
UPDATE {ns}_latches SET forget_at = ? WHERE id IN (SELECT value FROM json_each(?))
AND (forget_at IS NULL OR forget_at > ?)

-- name: drop_arrivals
-- takes: latch, how many at most
DELETE FROM {ns}_arrivals WHERE latch = ?1 AND member IN (
    SELECT member FROM {ns}_arrivals WHERE latch = ?1 LIMIT ?2
)

-- name: forgettable_latches
-- takes: now; returns: id
SELECT id FROM {ns}_latches WHERE forget_at <= ? ORDER BY forget_at LIMIT 4

-- name: drop_latch
-- takes: id
DELETE FROM {ns}_latches WHERE id = ?
