-- What was taken over from another gateway's database: what was written here for it, so that a row that was changed here
-- since is told from one that was not; and what it had spent there.
CREATE TABLE imports (
    object_type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    spend REAL NOT NULL,
    CONSTRAINT imports_pkey PRIMARY KEY (object_type, object_id)
) STRICT;
