-- The first schema. Times are microseconds since 1970, UTC. Every table with a tenant's data has the tenant in it.
-- A cube is one row in cubes (its newest version, as lists and searches filter it) and one row a version in versions.
-- A cube with terms is searched; one without is not.

CREATE TABLE cubes (
    cube_key INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,
    cube_id TEXT NOT NULL,
    agent TEXT,
    session TEXT,
    form TEXT NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    valid_us INTEGER,
    invalid_us INTEGER,
    expires_us INTEGER,
    is_held INTEGER NOT NULL,
    trust REAL NOT NULL,
    speaker TEXT,
    position INTEGER,
    labels TEXT NOT NULL,
    source_ref TEXT NOT NULL,
    terms BLOB,
    checksum INTEGER
);

CREATE INDEX cubes_by_user ON cubes (tenant, user, cube_id);

CREATE INDEX cubes_by_source ON cubes (tenant, user, source_ref) WHERE source_ref <> '';

CREATE INDEX cubes_by_expiry ON cubes (tenant, expires_us) WHERE expires_us IS NOT NULL;

CREATE TABLE versions (
    tenant TEXT NOT NULL,
    cube_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    cube_key INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    header TEXT NOT NULL,
    payload TEXT NOT NULL,
    text TEXT,
    digest TEXT NOT NULL,
    blob TEXT,
    salt BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, cube_id, version)
) WITHOUT ROWID;

CREATE INDEX versions_by_blob ON versions (tenant, blob) WHERE blob IS NOT NULL;

CREATE TABLE lineage (
    tenant TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    parent_version INTEGER NOT NULL,
    child_id TEXT NOT NULL,
    child_version INTEGER NOT NULL,
    relation TEXT NOT NULL,
    PRIMARY KEY (tenant, parent_id, parent_version, child_id, child_version, relation)
) WITHOUT ROWID;

CREATE INDEX lineage_by_child ON lineage (tenant, child_id, child_version);

CREATE TABLE tombstones (
    tenant TEXT NOT NULL,
    cube_id TEXT NOT NULL,
    user TEXT NOT NULL,
    erased_us INTEGER NOT NULL,
    num_versions INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, cube_id)
) WITHOUT ROWID;

CREATE TABLE usage (
    tenant TEXT NOT NULL,
    cube_id TEXT NOT NULL,
    uses INTEGER NOT NULL,
    last_used_us INTEGER NOT NULL,
    strength REAL NOT NULL,
    PRIMARY KEY (tenant, cube_id)
) WITHOUT ROWID;

CREATE TABLE journal (
    tenant TEXT NOT NULL,
    seq INTEGER NOT NULL,
    user TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    cube_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    seal BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant, seq)
) WITHOUT ROWID;

CREATE TABLE scope_heads (
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, user)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    salt BLOB NOT NULL,
    digest BLOB NOT NULL,
    receipt TEXT NOT NULL,
    PRIMARY KEY (tenant, user, key)
) WITHOUT ROWID;

CREATE TABLE jobs (
    job_key INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    queue TEXT NOT NULL,
    parameters TEXT NOT NULL,
    state TEXT NOT NULL,
    run_at_us INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    last_error TEXT NOT NULL
);

CREATE INDEX jobs_by_time ON jobs (tenant, state, run_at_us);

CREATE TABLE vectors (
    embedder_key INTEGER NOT NULL,
    cube_key INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (embedder_key, cube_key)
) WITHOUT ROWID;

CREATE VIRTUAL TABLE text_index USING fts5 (
    text, owner, content = '', columnsize = 0, tokenize = 'porter unicode61 remove_diacritics 2'
);

-- System tables: nothing of a tenant is in them.

CREATE TABLE embedders (
    embedder_key INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL UNIQUE,
    is_current INTEGER NOT NULL
);

CREATE TABLE backups (
    path TEXT NOT NULL,
    at_us INTEGER NOT NULL
);

PRAGMA application_id = 1701734258;

PRAGMA user_version = 1;
