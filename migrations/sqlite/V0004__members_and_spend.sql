-- Money that users and teams have spent, in US dollars.
ALTER TABLE users ADD COLUMN spend REAL NOT NULL DEFAULT 0;
ALTER TABLE teams ADD COLUMN spend REAL NOT NULL DEFAULT 0;

-- Who belongs to which team, and as what. A member need not have a row among the users. A write to it moves the version
-- of the team.
CREATE TABLE team_members (
    team_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_email TEXT,
    role TEXT NOT NULL,
    settings TEXT NOT NULL,
    spend REAL NOT NULL DEFAULT 0,
    CONSTRAINT team_members_pkey PRIMARY KEY (team_id, user_id),
    CONSTRAINT team_members_team FOREIGN KEY (team_id) REFERENCES teams (team_id) ON DELETE CASCADE,
    CONSTRAINT team_members_role CHECK (role IN ('admin', 'user'))
) STRICT;

CREATE INDEX team_members_of_user ON team_members (user_id, team_id);

-- The orders of the listings, and their conditions.
CREATE INDEX teams_by_created ON teams (created_at, team_id);
CREATE INDEX teams_of_organization ON teams (organization_id, created_at, team_id);
CREATE INDEX users_by_created ON users (created_at, user_id);
CREATE INDEX users_of_role ON users (role, created_at, user_id);
CREATE INDEX users_of_email ON users (user_email, created_at, user_id);
