//! Values bound in statements, in the form that each database keeps them.
//!
//! Times are kept to the microsecond: `TIMESTAMPTZ` in PostgreSQL, an integer since 1970 in SQLite. Documents are `JSON`
//! and `TEXT`. Nothing from a caller ever becomes part of a statement's text.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::Value;
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A bound value.
#[derive(Clone, Debug)]
pub(super) enum Param {
    Null,
    Bytes([u8; 32]),
    Text(String),
    Integer(i64),
    Real(f64),
    Bool(bool),
    Time(SystemTime),
    Json(Value),
}

impl From<KeyHash> for Param {
    fn from(hash: KeyHash) -> Self {
        Self::Bytes(*hash.as_bytes())
    }
}

impl From<&Option<String>> for Param {
    fn from(text: &Option<String>) -> Self {
        text.clone().map_or(Self::Null, Self::Text)
    }
}

impl From<Option<SystemTime>> for Param {
    fn from(time: Option<SystemTime>) -> Self {
        time.map_or(Self::Null, Self::Time)
    }
}

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bytes(bytes) => bytes.as_slice().to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Integer(number) => number.to_sql(ty, out),
            Self::Real(number) => number.to_sql(ty, out),
            Self::Bool(truth) => truth.to_sql(ty, out),
            Self::Time(time) => kept(*time).to_sql(ty, out),
            Self::Json(value) => value.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    /// The type is the server's, so a value bound to a column of another type is caught here rather than misread there.
    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bytes(bytes) => bytes.as_slice().to_sql_checked(ty, out),
            Self::Text(text) => text.to_sql_checked(ty, out),
            Self::Integer(number) => number.to_sql_checked(ty, out),
            Self::Real(number) => number.to_sql_checked(ty, out),
            Self::Bool(truth) => truth.to_sql_checked(ty, out),
            Self::Time(time) => kept(*time).to_sql_checked(ty, out),
            Self::Json(value) => value.to_sql_checked(ty, out),
        }
    }
}

impl rusqlite::ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(rusqlite::types::Null.into()),
            Self::Bytes(bytes) => Ok(bytes.as_slice().into()),
            Self::Text(text) => Ok(text.as_str().into()),
            Self::Integer(number) => Ok((*number).into()),
            Self::Real(number) => Ok((*number).into()),
            Self::Bool(truth) => Ok((*truth).into()),
            Self::Time(time) => Ok(micros(*time).into()),
            Self::Json(value) => Ok(value.to_string().into()),
        }
    }
}

/// The last microsecond of the year 9999: what both databases, and RFC 3339, can still say. Later is the same as never.
const LAST: i64 = 253_402_300_799_999_999;

/// Microseconds since 1970, within what can be kept.
pub(super) fn micros(time: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(LAST);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since).min(LAST),
        Err(before) => -whole(before.duration()).min(LAST / 4),
    }
}

pub(super) fn from_micros(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

/// The time as it will be read back.
pub(super) fn kept(time: SystemTime) -> SystemTime {
    from_micros(micros(time))
}
