-- What calls took: by day and by who is charged, and, where that is asked for, call by call. Texts are never null, so that they
-- can be a part of the key; the empty text stands for nobody.
CREATE TABLE usage_by_day (
    day BIGINT NOT NULL,
    caller TEXT NOT NULL,
    user_id TEXT NOT NULL,
    team_id TEXT NOT NULL,
    organization_id TEXT NOT NULL,
    end_user_id TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_written_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    picodollars BIGINT NOT NULL,
    CONSTRAINT usage_by_day_pkey PRIMARY KEY (day, caller, user_id, team_id, organization_id, end_user_id, model,
        upstream_model, provider)
);

CREATE INDEX usage_by_day_of_user ON usage_by_day (user_id, day);
CREATE INDEX usage_by_day_of_team ON usage_by_day (team_id, day);
CREATE INDEX usage_by_day_of_caller ON usage_by_day (caller, day);

CREATE TABLE usage_log (
    request_id TEXT NOT NULL,
    began_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    caller TEXT NOT NULL,
    user_id TEXT NOT NULL,
    team_id TEXT NOT NULL,
    organization_id TEXT NOT NULL,
    end_user_id TEXT NOT NULL,
    call TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    provider TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_written_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    picodollars BIGINT NOT NULL,
    is_estimate BOOLEAN NOT NULL,
    CONSTRAINT usage_log_pkey PRIMARY KEY (request_id)
);

CREATE INDEX usage_log_by_time ON usage_log (began_at, request_id);
CREATE INDEX usage_log_of_caller ON usage_log (caller, began_at);
CREATE INDEX usage_log_of_user ON usage_log (user_id, began_at);

-- How far the journal of each process was taken over: what is posted twice counts once.
CREATE TABLE usage_journals (
    journal TEXT NOT NULL,
    posted_through BIGINT NOT NULL,
    posted_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT usage_journals_pkey PRIMARY KEY (journal)
);

-- When what a key has spent begins anew.
ALTER TABLE virtual_keys ADD COLUMN budget_reset_at TIMESTAMPTZ;
CREATE INDEX virtual_keys_by_budget_reset ON virtual_keys (budget_reset_at) WHERE budget_reset_at IS NOT NULL;
