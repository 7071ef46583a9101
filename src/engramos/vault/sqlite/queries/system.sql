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
SELECT DISTINCT tenant FROM jobs
WHERE state IN ('queued', 'leased') AND (run_at_us <= :now_us OR (state = 'leased' AND queue = 'scrub'))

-- name: add_backup
INSERT INTO backups (path, at_us) VALUES (:path, :at_us)

-- name: backups
SELECT path, at_us FROM backups ORDER BY at_us

-- name: merge_text_index
INSERT INTO text_index (text_index) VALUES ('optimize')

-- name: check_text_index
INSERT INTO text_index (text_index) VALUES ('integrity-check')

-- name: tenants_in_rows
SELECT tenant FROM scope_heads UNION SELECT tenant FROM journal UNION SELECT tenant FROM versions
UNION SELECT tenant FROM cubes UNION SELECT tenant FROM tombstones UNION SELECT tenant FROM lineage
UNION SELECT tenant FROM vectors UNION SELECT tenant FROM usage UNION SELECT tenant FROM idempotency
UNION SELECT tenant FROM jobs

-- name: attach_words
CREATE VIRTUAL TABLE temp.words USING fts5vocab (main, text_index, instance)

-- name: words
SELECT term, doc, col, "offset" FROM temp.words

-- name: make_expected
CREATE VIRTUAL TABLE temp.expected USING fts5 (
    text, owner, content = '', columnsize = 0, tokenize = 'porter unicode61 remove_diacritics 2'
)

-- name: attach_expected_words
CREATE VIRTUAL TABLE temp.expected_words USING fts5vocab (temp, expected, instance)

-- name: put_expected
INSERT INTO temp.expected (rowid, text, owner) VALUES (:cube_key, :text, :owner)

-- name: expected_words
SELECT term, doc, col, "offset" FROM temp.expected_words

-- name: clear_expected
INSERT INTO temp.expected (expected) VALUES ('delete-all')

-- name: text_config
SELECT k, v FROM main.text_index_config ORDER BY k

-- name: expected_config
SELECT k, v FROM temp.expected_config ORDER BY k

-- name: mend_text_config
INSERT OR REPLACE INTO text_index_config (k, v) VALUES (:k, :v)

-- name: clear_text_config
DELETE FROM text_index_config

-- name: clear_text_index
INSERT INTO text_index (text_index) VALUES ('delete-all')
