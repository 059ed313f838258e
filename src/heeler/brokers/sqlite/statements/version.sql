-- The version of a namespace's tables.

-- name: version
-- returns: the version
SELECT version FROM {ns}_version

-- name: set_version
-- takes: the version
UPDATE {ns}_version SET version = ?
