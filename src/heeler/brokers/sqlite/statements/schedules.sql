-- Schedules, and the cells in which their states stand.

-- name: schedules_named
-- takes: names as JSON, what their cells' names begin with
-- returns: name, origin, definition, state, due_at
SELECT s.name, s.origin, s.definition, c.value, c.due_at
FROM {ns}_schedules s JOIN {ns}_cells c ON c.name = ?2 || s.name
WHERE s.name IN (SELECT value FROM json_each(?1))

-- name: list_schedules
-- takes: the name after which to begin, what their cells' names begin with, how many
-- returns: name, origin, definition, state, due_at
SELECT s.name, s.origin, s.definition, c.value, c.due_at
FROM {ns}_schedules s JOIN {ns}_cells c ON c.name = ?2 || s.name
WHERE s.name > ?1 ORDER BY s.name LIMIT ?3

-- name: list_schedules_of
-- takes: the name after which to begin, what their cells' names begin with, how many, origin
-- returns: name, origin, definition, state, due_at
SELECT s.name, s.origin, s.definition, c.value, c.due_at
FROM {ns}_schedules s JOIN {ns}_cells c ON c.name = ?2 || s.name
WHERE s.origin = ?4 AND (s.origin <> '' OR ?4 = '') AND s.name > ?1 ORDER BY s.name LIMIT ?3

-- name: due_schedules
-- takes: now, how many letters the names of their cells begin with, how many
-- returns: name, origin, definition, state, due_at
SELECT s.name, s.origin, s.definition, c.value, c.due_at
FROM {ns}_cells c JOIN {ns}_schedules s ON s.name = substr(c.name, ?2 + 1)
WHERE c.due_at <= ?1 ORDER BY c.due_at, c.name LIMIT ?3

-- name: next_schedule
-- takes: due_at and cell of the schedule after which to look; returns: when the next one is due
SELECT due_at FROM {ns}_cells WHERE due_at >= ?1 AND (due_at, name) > (?1, ?2) ORDER BY due_at, name LIMIT 1

-- name: put_schedule
-- takes: name, origin, definition
INSERT OR REPLACE INTO {ns}_schedules (name, origin, definition) VALUES (?, ?, ?)

-- name: drop_schedule
-- takes: name
DELETE FROM {ns}_schedules WHERE name = ?
