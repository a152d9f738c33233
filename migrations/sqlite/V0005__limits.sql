-- When what users, teams and their members have spent begins anew.
ALTER TABLE users ADD COLUMN budget_reset_at INTEGER;
ALTER TABLE teams ADD COLUMN budget_reset_at INTEGER;
ALTER TABLE team_members ADD COLUMN budget_reset_at INTEGER;
CREATE INDEX users_by_budget_reset ON users (budget_reset_at) WHERE budget_reset_at IS NOT NULL;
CREATE INDEX teams_by_budget_reset ON teams (budget_reset_at) WHERE budget_reset_at IS NOT NULL;
CREATE INDEX team_members_by_budget_reset ON team_members (budget_reset_at) WHERE budget_reset_at IS NOT NULL;

-- Which processes serve, so that each knows among how many a limit is shared. `beat` counts: one that stands still has ended.
CREATE TABLE nodes (
    node TEXT NOT NULL,
    beat INTEGER NOT NULL,
    CONSTRAINT nodes_pkey PRIMARY KEY (node)
) STRICT;
