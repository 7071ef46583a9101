-- name: head
SELECT c.cube_key, c.version, c.user, c.state, c.is_held, c.terms
FROM versions AS v JOIN cubes AS c ON c.cube_key = v.cube_key AND c.tenant = :tenant
WHERE v.tenant = :tenant AND v.cube_id = :cube_id AND v.version = 1

-- name: create_cube
INSERT INTO cubes (cube_key, tenant, user, cube_id, agent, session, form, type, state, version, created_us,
    valid_us, invalid_us, expires_us, is_held, trust, speaker, position, labels, source_ref, terms, checksum)
VALUES (:cube_key, :tenant, :user, :cube_id, :agent, :session, :form, :type, :state, :version, :created_us,
    :valid_us, :invalid_us, :expires_us, :is_held, :trust, :speaker, :position, :labels, :source_ref, :terms, :checksum)

-- name: has_tombstones
SELECT 1 FROM tombstones WHERE tenant = :tenant LIMIT 1

-- name: erased_ids
SELECT cube_id FROM tombstones WHERE tenant = :tenant AND cube_id IN (SELECT value FROM json_each(:cube_ids))

-- name: is_known
SELECT cube_id FROM versions WHERE tenant = :tenant AND cube_id = :cube_id AND version = 1

-- name: known_ids
SELECT cube_id FROM versions
WHERE tenant = :tenant AND version = 1 AND cube_id IN (SELECT value FROM json_each(:cube_ids))

-- name: change_cube
UPDATE cubes SET user = :user, agent = :agent, session = :session, form = :form, type = :type, state = :state,
    version = :version, created_us = :created_us, valid_us = :valid_us, invalid_us = :invalid_us,
    expires_us = :expires_us, is_held = :is_held, trust = :trust, speaker = :speaker, position = :position,
    labels = :labels, source_ref = :source_ref, terms = :terms, checksum = :checksum
WHERE tenant = :tenant AND cube_key = :cube_key

-- name: set_terms
UPDATE cubes SET terms = :terms, checksum = :checksum WHERE tenant = :tenant AND cube_key = :cube_key

-- name: write_version
INSERT INTO versions (tenant, cube_id, version, cube_key, created_us, header, payload, text, digest, blob, salt, seq)
VALUES (:tenant, :cube_id, :version, :cube_key, :created_us, :header, :payload, :text, :digest, :blob, :salt, :seq)

-- name: read_version
SELECT header, payload, text, digest FROM versions
WHERE tenant = :tenant AND cube_id = :cube_id AND version = :version

-- name: read_head
SELECT header, payload, text, digest FROM versions
WHERE tenant = :tenant AND cube_id = :cube_id ORDER BY version DESC LIMIT 1

-- name: read_known_at
SELECT header, payload, text, digest FROM versions
WHERE tenant = :tenant AND cube_id = :cube_id AND created_us <= :known_us ORDER BY version DESC LIMIT 1

-- name: read_heads
SELECT v.header, v.payload, v.text, v.digest
FROM json_each(:cube_ids) AS wanted
CROSS JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = wanted.value AND v.version = (
    SELECT max(o.version) FROM versions AS o WHERE o.tenant = :tenant AND o.cube_id = wanted.value)

-- name: history
SELECT header, payload, text, digest FROM versions
WHERE tenant = :tenant AND cube_id = :cube_id ORDER BY version

-- name: list_heads
SELECT v.header, v.payload, v.text, v.digest
FROM cubes AS c
CROSS JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id AND v.version = c.version
WHERE c.tenant = :tenant AND c.user = :user AND c.cube_id > :after
    AND (:agent IS NULL OR c.agent = :agent)
    AND (:session IS NULL OR c.session = :session)
    AND (:forms IS NULL OR c.form IN (SELECT value FROM json_each(:forms)))
    AND (:types IS NULL OR c.type IN (SELECT value FROM json_each(:types)))
    AND (:states IS NULL OR c.state IN (SELECT value FROM json_each(:states)))
    AND (:speaker IS NULL OR c.speaker = :speaker COLLATE NOCASE)
    AND (:source_ref IS NULL OR c.source_ref = :source_ref)
    AND (:label IS NULL OR instr(c.labels, :label) > 0)
    AND (:min_trust IS NULL OR c.trust >= :min_trust)
    AND (:since_us IS NULL OR c.valid_us >= :since_us)
    AND (:until_us IS NULL OR c.valid_us < :until_us)
    AND (:valid_us IS NULL OR (coalesce(c.valid_us, :valid_us) <= :valid_us
        AND coalesce(c.invalid_us, :valid_us + 1) > :valid_us))
    AND coalesce(c.expires_us, :now_us + 1) > :now_us
    AND (:match IS NULL OR c.cube_key IN (SELECT rowid FROM text_index WHERE text_index MATCH :match))
ORDER BY c.cube_id LIMIT :limit

-- name: list_known_at
SELECT v.header, v.payload, v.text, v.digest
FROM cubes AS c
CROSS JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id AND v.version = (
    SELECT max(o.version) FROM versions AS o
    WHERE o.tenant = :tenant AND o.cube_id = c.cube_id AND o.created_us <= :known_us)
WHERE c.tenant = :tenant AND c.user = :user AND c.cube_id > :after
ORDER BY c.cube_id LIMIT :limit

-- name: known_texts
SELECT DISTINCT c.source_ref, c.session, v.text
FROM json_each(:refs) AS wanted
CROSS JOIN cubes AS c ON c.tenant = :tenant AND c.user = :user AND c.source_ref = wanted.value AND c.source_ref <> ''
CROSS JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id
WHERE c.agent IS :agent AND v.text IS NOT NULL

-- name: matching
SELECT c.cube_id FROM cubes AS c
WHERE c.tenant = :tenant AND c.user = :user
    AND c.cube_key IN (SELECT rowid FROM text_index WHERE text_index MATCH :match)

-- name: count_by_state
SELECT form, type, state, count(*) FROM cubes WHERE tenant = :tenant AND user = :user GROUP BY form, type, state

-- name: count_versions
SELECT count(*), total(length(CAST(v.text AS BLOB)))
FROM cubes AS c CROSS JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id
WHERE c.tenant = :tenant AND c.user = :user

-- name: expired
SELECT cube_id, version, user FROM cubes
WHERE tenant = :tenant AND expires_us <= :now_us AND is_held = 0 ORDER BY expires_us LIMIT :limit

-- name: add_edge
INSERT OR IGNORE INTO lineage (tenant, parent_id, parent_version, child_id, child_version, relation)
SELECT :tenant, :parent_id, :parent_version, :child_id, :child_version, :relation
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tenant = :tenant AND cube_id = :parent_id)

-- name: children
SELECT child_id, child_version, relation, parent_version FROM lineage
WHERE tenant = :tenant AND parent_id = :cube_id ORDER BY child_id, child_version

-- name: erase_edges
DELETE FROM lineage WHERE tenant = :tenant AND (parent_id = :cube_id OR child_id = :cube_id)

-- name: erase_versions
DELETE FROM versions WHERE tenant = :tenant AND cube_id = :cube_id

-- name: erase_cube
DELETE FROM cubes WHERE tenant = :tenant AND cube_key = :cube_key

-- name: erase_usage
DELETE FROM usage WHERE tenant = :tenant AND cube_id = :cube_id

-- name: set_tombstone
INSERT OR REPLACE INTO tombstones (tenant, cube_id, user, erased_us, num_versions, seq)
VALUES (:tenant, :cube_id, :user, :erased_us, :num_versions, :seq)

-- name: tombstone
SELECT user, erased_us, num_versions FROM tombstones WHERE tenant = :tenant AND cube_id = :cube_id

-- name: tombstones
SELECT cube_id, erased_us, num_versions FROM tombstones
WHERE tenant = :tenant AND user = :user ORDER BY cube_id

-- name: blob_users
SELECT count(*) FROM versions WHERE tenant = :tenant AND blob = :blob

-- name: activations
SELECT c.cube_id, c.version FROM versions AS v
CROSS JOIN cubes AS c ON c.tenant = :tenant AND c.cube_key = v.cube_key AND c.version = v.version
WHERE v.tenant = :tenant AND v.blob IS NOT NULL AND c.user = :user AND c.form = 'activation'
    AND c.state IN ('activated', 'frozen') AND (:agent IS NULL OR c.agent = :agent)
ORDER BY c.cube_id

-- name: blobs
SELECT DISTINCT blob FROM versions WHERE tenant = :tenant AND blob IS NOT NULL ORDER BY blob

-- name: add_use
INSERT INTO usage (tenant, cube_id, uses, last_used_us, strength)
SELECT :tenant, :cube_id, :uses, :last_used_us, 1.0
WHERE EXISTS (SELECT 1 FROM versions WHERE tenant = :tenant AND cube_id = :cube_id)
ON CONFLICT (tenant, cube_id)
DO UPDATE SET uses = uses + excluded.uses, last_used_us = max(last_used_us, excluded.last_used_us)

-- name: usage
SELECT uses, last_used_us, strength FROM usage WHERE tenant = :tenant AND cube_id = :cube_id

-- name: find_idempotency
SELECT salt, digest, receipt FROM idempotency WHERE tenant = :tenant AND user = :user AND key = :key

-- name: keep_idempotency
INSERT INTO idempotency (tenant, user, key, at_us, salt, digest, receipt)
VALUES (:tenant, :user, :key, :at_us, :salt, :digest, :receipt)

-- name: sweep_idempotency
DELETE FROM idempotency WHERE tenant = :tenant AND at_us < :before_us

-- name: blobs_of_cube
SELECT DISTINCT blob FROM versions WHERE tenant = :tenant AND cube_id = :cube_id AND blob IS NOT NULL

-- name: seals_of_cube
SELECT version, salt, digest FROM versions WHERE tenant = :tenant AND cube_id = :cube_id ORDER BY version

-- name: all_versions
SELECT v.cube_id, v.version, v.header, v.payload, v.text, v.digest, v.salt, v.blob, v.created_us, v.cube_key, v.seq
FROM versions AS v
WHERE v.tenant = :tenant ORDER BY v.cube_id, v.version

-- name: all_cubes
SELECT cube_key, tenant, user, cube_id, agent, session, form, type, state, version, created_us, valid_us, invalid_us,
    expires_us, is_held, trust, speaker, position, labels, source_ref, terms, checksum
FROM cubes WHERE tenant = :tenant ORDER BY cube_id

-- name: dangling_edges
SELECT l.child_id, l.child_version, l.parent_id, l.parent_version FROM lineage AS l
WHERE l.tenant = :tenant AND (
    NOT EXISTS (SELECT 1 FROM versions AS v
        WHERE v.tenant = :tenant AND v.cube_id = l.child_id AND v.version = l.child_version)
    OR NOT EXISTS (SELECT 1 FROM versions AS v
        WHERE v.tenant = :tenant AND v.cube_id = l.parent_id AND v.version = l.parent_version))
