-- name: put_vector
INSERT OR REPLACE INTO vectors (embedder_key, cube_key, tenant, vector, checksum)
VALUES (:embedder_key, :cube_key, :tenant, :vector, :checksum)

-- name: drop_vectors
DELETE FROM vectors WHERE tenant = :tenant AND cube_key = :cube_key
    AND embedder_key IN (SELECT embedder_key FROM embedders)

-- name: index_of_user
SELECT c.cube_id, c.version, c.agent, c.session, c.position, c.type, c.created_us, c.valid_us, c.invalid_us,
    c.expires_us, c.trust, c.speaker, c.labels, c.terms, v.vector, c.cube_key
FROM cubes AS c
LEFT JOIN vectors AS v ON v.embedder_key = :embedder_key AND v.cube_key = c.cube_key AND v.tenant = :tenant
WHERE c.tenant = :tenant AND c.user = :user AND c.terms IS NOT NULL ORDER BY c.cube_id

-- name: index_of_cubes
SELECT c.cube_id, c.version, c.agent, c.session, c.position, c.type, c.created_us, c.valid_us, c.invalid_us,
    c.expires_us, c.trust, c.speaker, c.labels, c.terms, v.vector, c.cube_key
FROM json_each(:cube_ids) AS wanted
CROSS JOIN versions AS o ON o.tenant = :tenant AND o.cube_id = wanted.value AND o.version = 1
CROSS JOIN cubes AS c ON c.tenant = :tenant AND c.cube_key = o.cube_key AND c.user = :user AND c.terms IS NOT NULL
LEFT JOIN vectors AS v ON v.embedder_key = :embedder_key AND v.cube_key = c.cube_key AND v.tenant = :tenant
ORDER BY c.cube_id

-- name: without_vector
SELECT c.user, c.cube_id FROM cubes AS c
WHERE c.tenant = :tenant AND (c.user, c.cube_id) > (:after_user, :after_id) AND c.terms IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM vectors AS v
    WHERE v.embedder_key = :embedder_key AND v.cube_key = c.cube_key AND v.tenant = :tenant)
ORDER BY c.user, c.cube_id LIMIT :limit

-- name: count_index
SELECT count(*) FROM cubes WHERE tenant = :tenant AND user = :user AND terms IS NOT NULL

-- name: vector_orphans
SELECT v.cube_key FROM vectors AS v
WHERE v.tenant = :tenant AND NOT EXISTS (
    SELECT 1 FROM cubes AS c WHERE c.tenant = :tenant AND c.cube_key = v.cube_key AND c.terms IS NOT NULL)

-- name: vector_checksums
SELECT c.cube_id, v.vector, v.checksum
FROM vectors AS v JOIN cubes AS c ON c.tenant = :tenant AND c.cube_key = v.cube_key
WHERE v.tenant = :tenant

-- name: drop_orphan_vectors
DELETE FROM vectors WHERE tenant = :tenant AND cube_key NOT IN (
    SELECT cube_key FROM cubes WHERE tenant = :tenant AND terms IS NOT NULL)

-- name: drop_old_vectors
DELETE FROM vectors WHERE tenant = :tenant AND embedder_key <> :embedder_key
