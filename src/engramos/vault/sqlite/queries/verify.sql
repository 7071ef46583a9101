-- What verify, repair, dump and load read and write. Scans follow a primary key, so that nothing is sorted in memory.

-- name: verify_journal
SELECT tenant, seq, user, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash FROM journal
WHERE tenant = :tenant ORDER BY seq

-- name: verify_heads
SELECT user, seq FROM scope_heads WHERE tenant = :tenant ORDER BY user

-- name: journal_without_version
SELECT j.seq, j.cube_id, j.version, j.seal FROM journal AS j
WHERE j.tenant = :tenant AND j.kind NOT IN ('erase', 'bury', 'reindex')
    AND NOT EXISTS (SELECT 1 FROM versions AS v
        WHERE v.tenant = :tenant AND v.cube_id = j.cube_id AND v.version = j.version AND v.seq = j.seq)
    AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.tenant = :tenant AND t.cube_id = j.cube_id)
ORDER BY j.seq

-- name: journal_without_tombstone
SELECT j.seq, j.cube_id FROM journal AS j
WHERE j.tenant = :tenant AND j.kind IN ('erase', 'bury') AND NOT EXISTS (
    SELECT 1 FROM tombstones AS t WHERE t.tenant = :tenant AND t.cube_id = j.cube_id AND t.seq = j.seq)
ORDER BY j.seq

-- name: journal_row
SELECT kind, cube_id, version, user, at_us, seal FROM journal WHERE tenant = :tenant AND seq = :seq

-- name: known_to_journal
SELECT DISTINCT cube_id FROM journal
WHERE tenant = :tenant AND cube_id IN (SELECT value FROM json_each(:cube_ids))

-- name: verify_tombstones
SELECT t.cube_id, t.user, t.erased_us, t.num_versions, t.seq, j.kind, j.cube_id, j.version, j.user, j.at_us, j.seal
FROM tombstones AS t LEFT JOIN journal AS j ON j.tenant = :tenant AND j.seq = t.seq
WHERE t.tenant = :tenant ORDER BY t.cube_id

-- name: tombstones_of_living
SELECT t.cube_id FROM tombstones AS t
WHERE t.tenant = :tenant AND EXISTS (SELECT 1 FROM versions AS v WHERE v.tenant = :tenant AND v.cube_id = t.cube_id)

-- name: verify_versions
SELECT v.cube_id, v.version, v.cube_key, v.created_us, v.header, v.payload, v.text, v.digest, v.blob, v.salt, v.seq,
    j.kind, j.cube_id, j.version, j.user, j.seal
FROM versions AS v LEFT JOIN journal AS j ON j.tenant = :tenant AND j.seq = v.seq
WHERE v.tenant = :tenant ORDER BY v.cube_id, v.version

-- name: cube_by_key
SELECT tenant, user, cube_id, agent, session, form, type, state, version, created_us, valid_us, invalid_us, expires_us,
    is_held, trust, speaker, position, labels, source_ref, cube_key, terms, checksum
FROM cubes WHERE tenant = :tenant AND cube_key = :cube_key

-- name: cubes_without_version
SELECT c.cube_key, c.cube_id FROM cubes AS c
WHERE c.tenant = :tenant AND NOT EXISTS (SELECT 1 FROM versions AS v
    WHERE v.tenant = :tenant AND v.cube_id = c.cube_id AND v.version = 1 AND v.cube_key = c.cube_key)

-- name: count_cubes
SELECT count(*) FROM cubes WHERE tenant = :tenant

-- name: edges_of_version
SELECT relation, parent_id, parent_version FROM lineage
WHERE tenant = :tenant AND child_id = :cube_id AND child_version = :version

-- name: verify_edges
SELECT l.relation, l.parent_id, l.parent_version, l.child_id, l.child_version, v.header,
    EXISTS (SELECT 1 FROM versions AS p
        WHERE p.tenant = :tenant AND p.cube_id = l.parent_id AND p.version = l.parent_version),
    EXISTS (SELECT 1 FROM tombstones AS t WHERE t.tenant = :tenant AND t.cube_id = l.parent_id)
FROM lineage AS l
LEFT JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = l.child_id AND v.version = l.child_version
WHERE l.tenant = :tenant
ORDER BY l.parent_id, l.parent_version, l.child_id, l.child_version, l.relation

-- name: erase_edge
DELETE FROM lineage WHERE tenant = :tenant AND relation = :relation AND parent_id = :parent_id
    AND parent_version = :parent_version AND child_id = :child_id AND child_version = :child_version

-- name: verify_vectors
SELECT v.embedder_key, v.cube_key, v.vector, v.checksum, c.cube_id, c.terms IS NOT NULL
FROM vectors AS v LEFT JOIN cubes AS c ON c.tenant = :tenant AND c.cube_key = v.cube_key
WHERE v.tenant = :tenant ORDER BY v.embedder_key, v.cube_key

-- name: searched_without_vector
SELECT c.cube_id, c.version FROM cubes AS c
WHERE c.tenant = :tenant AND c.terms IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM vectors AS v
    WHERE v.embedder_key = :embedder_key AND v.cube_key = c.cube_key AND v.tenant = :tenant)

-- name: drop_vector
DELETE FROM vectors WHERE tenant = :tenant AND embedder_key = :embedder_key AND cube_key = :cube_key

-- name: searched_texts
SELECT c.cube_key, CAST(v.text AS BLOB), c.user FROM cubes AS c
JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id AND v.version = c.version
WHERE c.tenant = :tenant AND c.form = 'plaintext' AND c.state IN ('activated', 'frozen')

-- name: verify_usage
SELECT u.cube_id, u.uses, u.last_used_us, u.strength,
    EXISTS (SELECT 1 FROM versions AS v WHERE v.tenant = :tenant AND v.cube_id = u.cube_id)
FROM usage AS u WHERE u.tenant = :tenant ORDER BY u.cube_id

-- name: verify_idempotency
SELECT user, key, at_us, salt, digest, receipt FROM idempotency WHERE tenant = :tenant ORDER BY user, key

-- name: verify_jobs
SELECT job_key, queue, parameters, state, attempts, last_error FROM jobs WHERE tenant = :tenant ORDER BY job_key

-- name: replace_version
INSERT OR REPLACE INTO versions
    (tenant, cube_id, version, cube_key, created_us, header, payload, text, digest, blob, salt, seq)
VALUES (:tenant, :cube_id, :version, :cube_key, :created_us, :header, :payload, :text, :digest, :blob, :salt, :seq)

-- name: saved_version
SELECT header, payload, text, digest, salt, cube_key FROM versions
WHERE tenant = :tenant AND cube_id = :cube_id AND version = :version

-- name: cube_key_of
SELECT cube_key FROM cubes WHERE tenant = :tenant AND cube_id = :cube_id

-- name: set_cube_key
UPDATE versions SET cube_key = :cube_key WHERE tenant = :tenant AND cube_id = :cube_id

-- name: newest_version
SELECT version FROM versions WHERE tenant = :tenant AND cube_id = :cube_id ORDER BY version DESC LIMIT 1

-- name: erase_version
DELETE FROM versions WHERE tenant = :tenant AND cube_id = :cube_id AND version = :version

-- name: dump_versions
SELECT v.header, v.payload, v.text, v.digest FROM cubes AS c
CROSS JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id
WHERE c.tenant = :tenant AND c.user = :user ORDER BY c.cube_id, v.version

-- name: dump_tombstones
SELECT cube_id, erased_us, num_versions FROM tombstones
WHERE tenant = :tenant AND user = :user ORDER BY cube_id

-- name: dump_journal
SELECT seq, at_us, kind, cube_id, version, actor, request_id, reason, seal, hash FROM journal
WHERE tenant = :tenant AND user = :user ORDER BY seq

-- name: dump_usage
SELECT u.cube_id, u.uses, u.last_used_us, u.strength FROM usage AS u
WHERE u.tenant = :tenant AND EXISTS (
    SELECT 1 FROM versions AS v JOIN cubes AS c ON c.tenant = :tenant AND c.cube_key = v.cube_key
    WHERE v.tenant = :tenant AND v.cube_id = u.cube_id AND v.version = 1 AND c.user = :user)
ORDER BY u.cube_id

-- name: set_usage
INSERT INTO usage (tenant, cube_id, uses, last_used_us, strength)
SELECT :tenant, :cube_id, :uses, :last_used_us, :strength
WHERE EXISTS (
    SELECT 1 FROM versions AS v JOIN cubes AS c ON c.tenant = :tenant AND c.cube_key = v.cube_key
    WHERE v.tenant = :tenant AND v.cube_id = :cube_id AND v.version = 1 AND c.user = :user)
ON CONFLICT (tenant, cube_id) DO NOTHING

-- name: bury
INSERT INTO tombstones (tenant, cube_id, user, erased_us, num_versions, seq)
VALUES (:tenant, :cube_id, :user, :erased_us, :num_versions, :seq)

-- name: digests_of_cubes
SELECT cube_id, digest FROM versions
WHERE tenant = :tenant AND cube_id IN (SELECT value FROM json_each(:cube_ids)) ORDER BY cube_id, version
