-- One row for each key that was ever issued. `key_alias` compares by bytes, so that both dialects sort alike;
-- `alias_folded` is its lower case as the program computes it, so that they match alike.
CREATE TABLE virtual_keys (
    token BYTEA NOT NULL,
    version BIGINT NOT NULL,
    key_name TEXT,
    key_alias TEXT COLLATE "C",
    alias_folded TEXT COLLATE "C",
    user_id TEXT,
    team_id TEXT,
    organization_id TEXT,
    models JSON NOT NULL,
    allowed_routes JSON NOT NULL,
    aliases JSON NOT NULL,
    expires TIMESTAMPTZ,
    blocked BOOLEAN,
    spend DOUBLE PRECISION NOT NULL,
    settings JSON NOT NULL,
    rotation_count BIGINT NOT NULL,
    last_rotation_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    created_by TEXT,
    updated_at TIMESTAMPTZ NOT NULL,
    updated_by TEXT,
    deleted_at TIMESTAMPTZ,
    deleted_by TEXT,
    CONSTRAINT virtual_keys_pkey PRIMARY KEY (token),
    CONSTRAINT virtual_keys_token_is_sha256 CHECK (length(token) = 32)
);

CREATE UNIQUE INDEX virtual_keys_live_alias ON virtual_keys (key_alias) WHERE deleted_at IS NULL;

-- The orders of a listing. Each ends with the token, which breaks ties, and reads backwards as well.
CREATE INDEX virtual_keys_by_created ON virtual_keys (created_at, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_by_updated ON virtual_keys (updated_at, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_by_expires ON virtual_keys ((expires IS NULL), expires, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_by_alias ON virtual_keys ((key_alias IS NULL), key_alias, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_by_spend ON virtual_keys (spend, token) WHERE deleted_at IS NULL;

-- Its conditions.
CREATE INDEX virtual_keys_of_user ON virtual_keys (user_id, created_at, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_of_team ON virtual_keys (team_id, created_at, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_of_organization ON virtual_keys (organization_id, created_at, token) WHERE deleted_at IS NULL;
CREATE INDEX virtual_keys_ending ON virtual_keys (expires) WHERE deleted_at IS NULL AND expires IS NOT NULL;
CREATE INDEX virtual_keys_blocked ON virtual_keys (created_at, token) WHERE deleted_at IS NULL AND blocked IS TRUE;
CREATE INDEX virtual_keys_deleted ON virtual_keys (created_at, token) WHERE deleted_at IS NOT NULL;

-- Every hash that a rotation replaced, and the key it leads to until `revoke_at`. Rows outlive their grace period: a
-- string that was a key once is never issued again. The cascade keeps a chain of rotations pointing at its end.
CREATE TABLE grace_keys (
    token BYTEA NOT NULL,
    active_token BYTEA NOT NULL,
    revoke_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT grace_keys_pkey PRIMARY KEY (token),
    CONSTRAINT grace_keys_active FOREIGN KEY (active_token) REFERENCES virtual_keys (token) ON UPDATE CASCADE
);

CREATE INDEX grace_keys_by_active ON grace_keys (active_token);

-- What a repeated rotation request is answered from.
CREATE TABLE rotation_replays (
    old_token BYTEA NOT NULL,
    request BYTEA NOT NULL,
    salt BYTEA NOT NULL,
    new_token BYTEA NOT NULL,
    CONSTRAINT rotation_replays_pkey PRIMARY KEY (old_token, request)
);

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    happened_at TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    changed_by TEXT,
    source TEXT,
    request_id TEXT,
    action TEXT NOT NULL,
    object_type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    fields_before JSON NOT NULL,
    fields_after JSON NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);

CREATE INDEX audit_log_by_object ON audit_log (object_id, id);
CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);

-- Counts the committed writes. A write takes this row first and holds it to its end, so writes happen one after another,
-- in the order of their epochs.
CREATE TABLE change_epoch (
    only_row INTEGER NOT NULL DEFAULT 1,
    epoch BIGINT NOT NULL,
    CONSTRAINT change_epoch_pkey PRIMARY KEY (only_row),
    CONSTRAINT change_epoch_only_row CHECK (only_row = 1)
);

INSERT INTO change_epoch (epoch) VALUES (0);

-- The digest of the master key that was made at the first start of a deployment that configures none.
CREATE TABLE own_master_key (
    only_row INTEGER NOT NULL DEFAULT 1,
    digest BYTEA NOT NULL,
    CONSTRAINT own_master_key_pkey PRIMARY KEY (only_row),
    CONSTRAINT own_master_key_only_row CHECK (only_row = 1),
    CONSTRAINT own_master_key_is_sha256 CHECK (length(digest) = 32)
);
