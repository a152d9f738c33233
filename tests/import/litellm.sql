-- The tables of a LiteLLM database, as far as an import reads them: names and types as its migrations make them.
CREATE TABLE "LiteLLM_BudgetTable" (
    budget_id TEXT PRIMARY KEY, max_budget DOUBLE PRECISION, soft_budget DOUBLE PRECISION, max_parallel_requests INTEGER,
    tpm_limit BIGINT, rpm_limit BIGINT, model_max_budget JSONB, budget_duration TEXT, budget_reset_at TIMESTAMP(3),
    created_by TEXT NOT NULL, updated_by TEXT NOT NULL);
CREATE TABLE "LiteLLM_UserTable" (
    user_id TEXT PRIMARY KEY, user_alias TEXT, sso_user_id TEXT UNIQUE, password TEXT, teams TEXT[] DEFAULT '{}', user_role TEXT,
    max_budget DOUBLE PRECISION, spend DOUBLE PRECISION NOT NULL DEFAULT 0, user_email TEXT, models TEXT[] DEFAULT '{}',
    metadata JSONB NOT NULL DEFAULT '{}', max_parallel_requests INTEGER, tpm_limit BIGINT, rpm_limit BIGINT,
    budget_duration TEXT, budget_reset_at TIMESTAMP(3), created_at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_TeamTable" (
    team_id TEXT PRIMARY KEY, team_alias TEXT, organization_id TEXT, members_with_roles JSONB NOT NULL DEFAULT '{}',
    metadata JSONB NOT NULL DEFAULT '{}', max_budget DOUBLE PRECISION, spend DOUBLE PRECISION NOT NULL DEFAULT 0,
    models TEXT[] DEFAULT '{}', max_parallel_requests INTEGER, tpm_limit BIGINT, rpm_limit BIGINT, budget_duration TEXT,
    budget_reset_at TIMESTAMP(3), blocked BOOLEAN NOT NULL DEFAULT false, team_member_permissions TEXT[] DEFAULT '{}',
    created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_TeamMembership" (
    user_id TEXT, team_id TEXT, spend DOUBLE PRECISION NOT NULL DEFAULT 0, budget_id TEXT, PRIMARY KEY (user_id, team_id));
CREATE TABLE "LiteLLM_VerificationToken" (
    token TEXT PRIMARY KEY, key_name TEXT, key_alias TEXT, spend DOUBLE PRECISION NOT NULL DEFAULT 0, expires TIMESTAMP(3),
    models TEXT[] DEFAULT '{}', aliases JSONB NOT NULL DEFAULT '{}', config JSONB NOT NULL DEFAULT '{}', user_id TEXT,
    team_id TEXT, organization_id TEXT, permissions JSONB NOT NULL DEFAULT '{}', max_parallel_requests INTEGER,
    metadata JSONB NOT NULL DEFAULT '{}', blocked BOOLEAN, tpm_limit BIGINT, rpm_limit BIGINT, max_budget DOUBLE PRECISION,
    budget_duration TEXT, budget_reset_at TIMESTAMP(3), allowed_routes TEXT[] DEFAULT '{}', budget_id TEXT,
    created_at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, created_by TEXT, rotation_count INTEGER DEFAULT 0);
CREATE TABLE "LiteLLM_DeprecatedVerificationToken" (
    id TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, active_token_id TEXT NOT NULL, revoke_at TIMESTAMP(3) NOT NULL);
CREATE TABLE "LiteLLM_OrganizationTable" (
    organization_id TEXT PRIMARY KEY, organization_alias TEXT NOT NULL, budget_id TEXT NOT NULL, created_by TEXT NOT NULL,
    updated_by TEXT NOT NULL);
