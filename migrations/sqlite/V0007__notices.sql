-- Of which ends of keys somebody was told: one row for each end, by whichever node came first.
CREATE TABLE expiry_notices (
    token BLOB NOT NULL,
    expires INTEGER NOT NULL,
    CONSTRAINT expiry_notices_pkey PRIMARY KEY (token, expires)
) STRICT;
