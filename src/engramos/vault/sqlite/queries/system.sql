-- name: last_cube_key
SELECT cube_key FROM cubes ORDER BY cube_key DESC LIMIT 1

-- name: embedders
SELECT embedder_key, fingerprint, is_current FROM embedders ORDER BY embedder_key

-- name: add_embedder
INSERT INTO embedders (fingerprint, is_current) VALUES (:fingerprint, :is_current)
ON CONFLICT (fingerprint) DO UPDATE SET is_current = max(is_current, excluded.is_current)
RETURNING embedder_key

-- name: make_embedder_current
UPDATE embedders SET is_current = (embedder_key = :embedder_key)

-- name: drop_embedders
DELETE FROM embedders WHERE is_current = 0

-- name: tenants
SELECT DISTINCT tenant FROM scope_heads ORDER BY tenant

-- name: tenants_with_jobs
SELECT DISTINCT tenant FROM jobs WHERE state IN ('queued', 'leased') AND run_at_us <= :now_us

-- name: add_backup
INSERT INTO backups (path, at_us) VALUES (:path, :at_us)

-- name: backups
SELECT path, at_us FROM backups ORDER BY at_us

-- name: merge_text_index
INSERT INTO text_index (text_index) VALUES ('optimize')

-- name: check_text_index
INSERT INTO text_index (text_index) VALUES ('integrity-check')
