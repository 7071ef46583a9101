-- name: journal_head
SELECT seq, hash FROM journal WHERE tenant = :tenant ORDER BY seq DESC LIMIT 1

-- name: scope_head
SELECT seq, coalesce((SELECT embedder_key FROM embedders WHERE is_current = 1), 0) FROM scope_heads
WHERE tenant = :tenant AND user = :user

-- name: set_scope_head
INSERT OR REPLACE INTO scope_heads (tenant, user, seq) VALUES (:tenant, :user, :seq)

-- name: write_journal
INSERT INTO journal (tenant, seq, user, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash)
VALUES (:tenant, :seq, :user, :at_us, :kind, :cube_id, :version, :actor, :request_id, :reason, :seal, :hash)

-- name: read_journal
SELECT seq, user, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash FROM journal
WHERE tenant = :tenant AND seq > :after ORDER BY seq LIMIT :limit

-- name: journal_of_cube
SELECT seq, user, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash FROM journal
WHERE tenant = :tenant AND seq IN (
    SELECT seq FROM versions WHERE tenant = :tenant AND cube_id = :cube_id
    UNION SELECT seq FROM tombstones WHERE tenant = :tenant AND cube_id = :cube_id)
ORDER BY seq

-- name: changed_cubes
SELECT DISTINCT cube_id FROM journal WHERE tenant = :tenant AND seq > :after AND user = :user

-- name: users
SELECT user, seq FROM scope_heads WHERE tenant = :tenant ORDER BY user

-- name: count_journal
SELECT count(*) FROM journal WHERE tenant = :tenant
