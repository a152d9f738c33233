-- Tokens that are refused before their time is over. `epoch` is that of the write that made the row what it is: what is
-- newer than the newest row that a process has read is what it has missed. `issued_until` narrows a denial to tokens issued
-- until then. A denial that was taken back keeps its row (`allowed_at`) until its time is over, so that everybody learns of it.
CREATE TABLE token_denials (
    claim TEXT NOT NULL,
    issuer TEXT NOT NULL,
    value TEXT NOT NULL,
    issued_until INTEGER,
    until INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT,
    reason TEXT,
    allowed_at INTEGER,
    CONSTRAINT token_denials_pkey PRIMARY KEY (claim, issuer, value),
    CONSTRAINT token_denials_claim CHECK (claim IN ('jti', 'sub', 'sid'))
) STRICT;

CREATE UNIQUE INDEX token_denials_by_epoch ON token_denials (epoch);
CREATE INDEX token_denials_ending ON token_denials (until);
CREATE INDEX token_denials_of_value ON token_denials (value, epoch) WHERE allowed_at IS NULL;

CREATE TABLE users (
    user_id TEXT NOT NULL,
    user_email TEXT,
    user_alias TEXT,
    role TEXT,
    models TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT,
    updated_at INTEGER NOT NULL,
    updated_by TEXT,
    version INTEGER NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (user_id)
) STRICT;

CREATE TABLE teams (
    team_id TEXT NOT NULL,
    team_alias TEXT,
    organization_id TEXT,
    models TEXT NOT NULL,
    blocked INTEGER NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT,
    updated_at INTEGER NOT NULL,
    updated_by TEXT,
    version INTEGER NOT NULL,
    CONSTRAINT teams_pkey PRIMARY KEY (team_id)
) STRICT;

-- Not unique, as in LiteLLM: an alias of several teams names none of them.
CREATE INDEX teams_of_alias ON teams (team_alias) WHERE team_alias IS NOT NULL;
