-- Tokens that are refused before their time is over. `epoch` is that of the write that made the row what it is: what is
-- newer than the newest row that a process has read is what it has missed. `issued_until` narrows a denial to tokens issued
-- until then. A denial that was taken back keeps its row (`allowed_at`) until its time is over, so that everybody learns of it.
CREATE TABLE token_denials (
    claim TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    issued_until TIMESTAMPTZ,
    until TIMESTAMPTZ NOT NULL,
    epoch BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    created_by TEXT,
    reason TEXT,
    allowed_at TIMESTAMPTZ,
    CONSTRAINT token_denials_pkey PRIMARY KEY (claim, issuer, value),
    CONSTRAINT token_denials_claim CHECK (claim IN ('jti', 'sub', 'sid'))
);

CREATE UNIQUE INDEX token_denials_by_epoch ON token_denials (epoch);
CREATE INDEX token_denials_ending ON token_denials (until);
CREATE INDEX token_denials_of_value ON token_denials (value, epoch) WHERE allowed_at IS NULL;

CREATE TABLE users (
    user_id TEXT COLLATE "C" NOT NULL,
    user_email TEXT,
    user_alias TEXT,
    role TEXT,
    models JSON NOT NULL,
    settings JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    created_by TEXT,
    updated_at TIMESTAMPTZ NOT NULL,
    updated_by TEXT,
    version BIGINT NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (user_id)
);

CREATE TABLE teams (
    team_id TEXT COLLATE "C" NOT NULL,
    team_alias TEXT COLLATE "C",
    organization_id TEXT,
    models JSON NOT NULL,
    blocked BOOLEAN NOT NULL,
    settings JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    created_by TEXT,
    updated_at TIMESTAMPTZ NOT NULL,
    updated_by TEXT,
    version BIGINT NOT NULL,
    CONSTRAINT teams_pkey PRIMARY KEY (team_id)
);

-- Not unique, as in LiteLLM: an alias of several teams names none of them.
CREATE INDEX teams_of_alias ON teams (team_alias) WHERE team_alias IS NOT NULL;
