//! The statements of what was taken over from elsewhere.

use portcullis_filters::authn::virtual_key::KeyHash;

use super::Statement;
use crate::store::param::Param;

/// Notes what was written for a row of the source, and what that had spent.
pub(in crate::store) fn mark(object_type: &str, object_id: &str, fingerprint: [u8; 32], spend: f64) -> Statement {
    Statement::fixed(
        "INSERT INTO imports (object_type, object_id, fingerprint, spend) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (object_type, object_id) DO UPDATE SET fingerprint = $3, spend = $4",
        vec![
            Param::Text(object_type.to_owned()),
            Param::Text(object_id.to_owned()),
            Param::Bytes(fingerprint),
            Param::Real(spend),
        ],
    )
}

pub(in crate::store) fn marked(object_type: &str, object_id: &str) -> Statement {
    Statement::fixed(
        "SELECT object_id, fingerprint, spend FROM imports WHERE object_type = $1 AND object_id = $2",
        vec![Param::Text(object_type.to_owned()), Param::Text(object_id.to_owned())],
    )
}

/// What was taken over, in the order of the ids, from behind this one on.
pub(in crate::store) fn page(object_type: &str, after: &str, limit: i64) -> Statement {
    Statement::fixed(
        "SELECT object_id, fingerprint, spend FROM imports WHERE object_type = $1 AND object_id > $2 \
         ORDER BY object_id LIMIT $3",
        vec![Param::Text(object_type.to_owned()), Param::Text(after.to_owned()), Param::Integer(limit)],
    )
}

/// A string that goes on working for a while, unless it is known already.
pub(in crate::store) fn grace(old: KeyHash, active: KeyHash, until: std::time::SystemTime) -> Statement {
    Statement::fixed(
        "INSERT INTO grace_keys (token, active_token, revoke_at) SELECT $1, token, $3 FROM virtual_keys \
         WHERE token = $2 AND deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM virtual_keys WHERE token = $1) \
         ON CONFLICT (token) DO NOTHING RETURNING token",
        vec![old.into(), active.into(), Param::Time(until)],
    )
}
