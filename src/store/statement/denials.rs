//! The statements of the deny list.
//!
//! A row carries the epoch of the write that made it. The subselect is that of the write under way: it counted itself
//! first, and no other write happens before it ends.

use std::time::SystemTime;

use portcullis_admin_api::store::DenialRow;
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;

use super::Statement;
use crate::store::param::Param;

/// The columns of a [`DenialRow`], in the order in which `row::denial_row` reads and [`params`] binds them.
pub(in crate::store) const COLUMNS: &str =
    "claim, issuer, value, issued_until, until, created_at, created_by, reason, allowed_at, epoch";

pub(in crate::store) fn denial(claim: DeniedClaim, issuer: &str, value: &str) -> Statement {
    let sql = format!("SELECT {COLUMNS} FROM token_denials WHERE claim = $1 AND issuer = $2 AND value = $3");
    let texts = [claim.name(), issuer, value];
    Statement::fixed(sql, texts.map(|text| Param::Text(text.to_owned())).into())
}

/// Stores a denial where there is no row of its name; returns no row otherwise.
pub(in crate::store) fn insert(row: &DenialRow) -> Statement {
    let sql = format!(
        "INSERT INTO token_denials ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
         (SELECT epoch FROM change_epoch)) ON CONFLICT (claim, issuer, value) DO NOTHING RETURNING epoch"
    );
    Statement::fixed(sql, params(row))
}

/// Writes a denial over the row of its name if that is still of the write `row.epoch`; returns no row otherwise.
pub(in crate::store) fn update(row: &DenialRow) -> Statement {
    let mut params = params(row);
    params.push(Param::Integer(row.epoch));
    Statement::fixed(
        "UPDATE token_denials SET issued_until = $4, until = $5, created_at = $6, created_by = $7, reason = $8, \
         allowed_at = $9, epoch = (SELECT epoch FROM change_epoch) \
         WHERE claim = $1 AND issuer = $2 AND value = $3 AND epoch = $10 RETURNING epoch",
        params,
    )
}

fn params(row: &DenialRow) -> Vec<Param> {
    vec![
        Param::Text(row.claim.name().to_owned()),
        Param::Text(row.issuer.clone()),
        Param::Text(row.value.clone()),
        row.issued_until.into(),
        Param::Time(row.until),
        Param::Time(row.created_at),
        (&row.created_by).into(),
        (&row.reason).into(),
        row.allowed_at.into(),
    ]
}

/// The next rows after a write that can still say something at `now`, those that were taken back among them.
pub(in crate::store) fn since(epoch: i64, now: SystemTime, most: i64) -> Statement {
    let sql = format!("SELECT {COLUMNS} FROM token_denials WHERE epoch > $1 AND until > $2 ORDER BY epoch LIMIT $3");
    Statement::fixed(sql, vec![Param::Integer(epoch), Param::Time(now), Param::Integer(most)])
}

/// Drops some rows whose time was over at `then`; returns a row for each.
pub(in crate::store) fn purge(then: SystemTime, most: i64) -> Statement {
    Statement::fixed(
        "DELETE FROM token_denials WHERE epoch IN (SELECT epoch FROM token_denials WHERE until < $1 LIMIT $2) \
         RETURNING epoch",
        vec![Param::Time(then), Param::Integer(most)],
    )
}
