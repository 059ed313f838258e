-- Presence and commands.

-- name: announce
-- takes: id, until, presence
INSERT OR REPLACE INTO {ns}_workers (id, until, presence) VALUES (?, ?, ?)

-- name: withdraw
-- takes: id
DELETE FROM {ns}_workers WHERE id = ?

-- name: prune_workers
-- takes: now
DELETE FROM {ns}_workers WHERE until <= ?

-- name: live_workers
-- takes: now; returns: presence
SELECT presence FROM {ns}_workers WHERE until > ? ORDER BY id

-- name: listen
-- takes: worker, address
INSERT OR REPLACE INTO {ns}_listeners (worker, address) VALUES (?, ?)

-- name: unlisten
-- takes: worker, address
DELETE FROM {ns}_listeners WHERE worker = ? AND address = ?

-- name: unlisten_address
-- takes: address
DELETE FROM {ns}_listeners WHERE address = ?

-- name: listeners
-- returns: worker, address, presence (NULL: it has not announced itself)
SELECT l.worker, l.address, w.presence FROM {ns}_listeners l LEFT JOIN {ns}_workers w ON w.id = l.worker

-- name: put_command
-- takes: worker, until, command
INSERT INTO {ns}_commands (worker, until, command) VALUES (?, ?, ?)

-- name: take_commands
-- takes: worker; returns: number, command
DELETE FROM {ns}_commands WHERE worker = ? RETURNING number, command

-- name: prune_commands
-- takes: now
DELETE FROM {ns}_commands WHERE until <= ?
