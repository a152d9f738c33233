//! Rows of either database, read back into the types of the contracts.
//!
//! A row that cannot be read (somebody edited it by hand) is an error, never a key with fewer restrictions.

use std::collections::BTreeMap;
use std::time::SystemTime;

use portcullis_admin_api::spend::{Call, Sum};
use portcullis_admin_api::store::{AuditRow, DenialRow, KeyRow, MemberRole, Replay, TeamMember, TeamRow, UserRow};
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord};
use portcullis_filters::calendar::iso_8601;
use portcullis_filters::directory::{MemberRecord, TeamName, TeamRecord, UserRecord};
use portcullis_filters::policy::Policy;
use portcullis_filters::price::Cost;
use portcullis_filters::principal::{Budget, Role, RowLimits};
use portcullis_filters::usage::Usage;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::directory;
use super::imports::ImportMark;
use super::nodes::NodeBeat;
use super::param::from_micros;

/// A row as its driver gives it.
pub(super) enum Row<'a> {
    Postgres(&'a tokio_postgres::Row),
    Sqlite(&'a rusqlite::Row<'a>),
}

/// A column does not hold what the schema says.
#[derive(Debug, thiserror::Error)]
#[error("column {column} cannot be read")]
pub(super) struct Unreadable {
    column: usize,
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
}

type Read<T> = Result<T, Unreadable>;

impl Row<'_> {
    fn column<'s, P, S>(&'s self, column: usize) -> Read<Cell<P, S>>
    where
        P: tokio_postgres::types::FromSql<'s>,
        S: rusqlite::types::FromSql,
    {
        match self {
            Self::Postgres(row) => row.try_get(column).map(Cell::Postgres).map_err(|error| unreadable(column, error)),
            Self::Sqlite(row) => row.get(column).map(Cell::Sqlite).map_err(|error| unreadable(column, error)),
        }
    }

    fn text(&self, column: usize) -> Read<Option<String>> {
        Ok(match self.column::<Option<String>, Option<String>>(column)? {
            Cell::Postgres(text) | Cell::Sqlite(text) => text,
        })
    }

    fn required(&self, column: usize) -> Read<String> {
        self.text(column)?.ok_or_else(|| unreadable(column, "null"))
    }

    pub(super) fn integer(&self, column: usize) -> Read<i64> {
        Ok(match self.column::<i64, i64>(column)? {
            Cell::Postgres(number) | Cell::Sqlite(number) => number,
        })
    }

    fn count(&self, column: usize) -> Read<u64> {
        u64::try_from(self.integer(column)?).map_err(|error| unreadable(column, error))
    }

    pub(super) fn real(&self, column: usize) -> Read<f64> {
        Ok(match self.column::<f64, f64>(column)? {
            Cell::Postgres(number) | Cell::Sqlite(number) => number,
        })
    }

    fn truth(&self, column: usize) -> Read<Option<bool>> {
        Ok(match self.column::<Option<bool>, Option<bool>>(column)? {
            Cell::Postgres(truth) | Cell::Sqlite(truth) => truth,
        })
    }

    fn time(&self, column: usize) -> Read<Option<SystemTime>> {
        Ok(match self.column::<Option<SystemTime>, Option<i64>>(column)? {
            Cell::Postgres(time) => time,
            Cell::Sqlite(micros) => micros.map(from_micros),
        })
    }

    fn moment(&self, column: usize) -> Read<SystemTime> {
        self.time(column)?.ok_or_else(|| unreadable(column, "null"))
    }

    fn bytes(&self, column: usize) -> Read<[u8; 32]> {
        let bytes = match self.column::<Vec<u8>, Vec<u8>>(column)? {
            Cell::Postgres(bytes) | Cell::Sqlite(bytes) => bytes,
        };
        bytes.try_into().map_err(|_| unreadable(column, "not 32 bytes"))
    }

    pub(super) fn hash(&self, column: usize) -> Read<KeyHash> {
        self.bytes(column).map(KeyHash::from)
    }

    fn json<T: DeserializeOwned>(&self, column: usize) -> Read<T> {
        let value = match self.column::<Value, String>(column)? {
            Cell::Postgres(value) => value,
            Cell::Sqlite(text) => serde_json::from_str(&text).map_err(|error| unreadable(column, error))?,
        };
        serde_json::from_value(value).map_err(|error| unreadable(column, error))
    }
}

/// One value in its driver's type.
enum Cell<P, S> {
    Postgres(P),
    Sqlite(S),
}

fn unreadable(column: usize, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Unreadable {
    Unreadable { column, cause: cause.into() }
}

/// What of a row's settings limits the use of what it stands for.
#[derive(Default, Deserialize)]
struct Limiting {
    max_budget: Option<f64>,
    soft_budget: Option<f64>,
    temp_budget_increase: Option<f64>,
    temp_budget_expiry: Option<String>,
    rpm_limit: Option<u64>,
    tpm_limit: Option<u64>,
    max_parallel_requests: Option<u64>,
    model_rpm_limit: Option<BTreeMap<String, u64>>,
    model_tpm_limit: Option<BTreeMap<String, u64>>,
}

impl Limiting {
    fn limits(&self, spent: f64, version: i64) -> RowLimits<'_> {
        let mut of_models = BTreeMap::<&str, (Option<u64>, Option<u64>)>::new();
        for (model, rpm) in self.model_rpm_limit.iter().flatten() {
            of_models.entry(model).or_default().0 = Some(*rpm);
        }
        for (model, tpm) in self.model_tpm_limit.iter().flatten() {
            of_models.entry(model).or_default().1 = Some(*tpm);
        }
        let raised = self.temp_budget_increase.zip(self.temp_budget_expiry.as_deref().and_then(iso_8601));
        let most = self.max_budget.map(Cost::from_dollars);
        let soft = self.soft_budget.map(Cost::from_dollars);
        let budget = (most.is_some() || soft.is_some()).then(|| Budget {
            most: most.unwrap_or(Cost(u64::MAX)),
            soft,
            raised: raised.map(|(more, until)| (Cost::from_dollars(more), until)),
            spent: Cost::from_dollars(spent),
            version,
        });
        RowLimits { rpm: self.rpm_limit, tpm: self.tpm_limit, parallel: self.max_parallel_requests, budget, of_models }
    }
}

/// The same of a team, and what bounds its members who have no bounds of their own.
#[derive(Deserialize)]
struct TeamLimiting {
    #[serde(flatten)]
    own: Limiting,
    #[serde(flatten)]
    of_members: MemberDefaults,
}

#[derive(Deserialize)]
struct MemberDefaults {
    team_member_budget: Option<f64>,
    team_member_rpm_limit: Option<u64>,
    team_member_tpm_limit: Option<u64>,
}

impl MemberDefaults {
    fn are_given(&self) -> bool {
        self.team_member_budget.is_some()
            || self.team_member_rpm_limit.is_some()
            || self.team_member_tpm_limit.is_some()
    }
}

/// What bounds one member of a team.
#[derive(Deserialize)]
struct MemberLimiting {
    max_budget_in_team: Option<f64>,
    rpm_limit: Option<u64>,
    tpm_limit: Option<u64>,
}

/// Reads what `statement::find` selects.
pub(super) fn key_record(row: &Row<'_>) -> Read<KeyRecord> {
    let models: Vec<String> = row.json(5)?;
    let routes: Vec<String> = row.json(6)?;
    let aliases: BTreeMap<String, String> = row.json(7)?;
    let (expires, revoked) = (row.time(8)?, row.time(10)?);
    let (id, settings) = (row.hash(0)?, row.json::<Limiting>(11)?);
    Ok(KeyRecord {
        id,
        limits: settings.limits(row.real(12)?, row.integer(13)?).of("key", id),
        alias: row.text(1)?.map(Into::into),
        // The empty name is nobody's: what bounds a key of no team would not bound one of the team "".
        user_id: row.text(2)?.filter(|id| !id.is_empty()).map(Into::into),
        team_id: row.text(3)?.filter(|id| !id.is_empty()).map(Into::into),
        organization_id: row.text(4)?.filter(|id| !id.is_empty()).map(Into::into),
        policy: Policy::new(&models, &routes, aliases),
        expires: [expires, revoked].into_iter().flatten().min(),
        blocked: row.truth(9)?.unwrap_or(false),
    })
}

/// Reads `statement::KEY_COLUMNS`.
pub(super) fn key_row(row: &Row<'_>) -> Read<KeyRow> {
    Ok(KeyRow {
        token: row.hash(0)?,
        version: row.integer(1)?,
        key_name: row.text(2)?,
        key_alias: row.text(3)?,
        user_id: row.text(4)?,
        team_id: row.text(5)?,
        organization_id: row.text(6)?,
        models: row.json(7)?,
        allowed_routes: row.json(8)?,
        aliases: row.json(9)?,
        expires: row.time(10)?,
        blocked: row.truth(11)?,
        spend: row.real(12)?,
        sets_spend: false,
        budget_reset_at: row.time(22)?,
        settings: row.json(13)?,
        rotation_count: row.integer(14)?,
        last_rotation_at: row.time(15)?,
        created_at: row.moment(16)?,
        created_by: row.text(17)?,
        updated_at: row.moment(18)?,
        updated_by: row.text(19)?,
        deleted_at: row.time(20)?,
        deleted_by: row.text(21)?,
    })
}

/// Reads what `listing::audit` selects.
pub(super) fn audit_row(row: &Row<'_>) -> Read<AuditRow> {
    Ok(AuditRow {
        id: row.integer(0)?,
        at: row.moment(1)?,
        actor: row.required(2)?,
        changed_by: row.text(3)?,
        source: row.text(4)?,
        request_id: row.text(5)?,
        action: row.required(6)?,
        object_type: row.required(7)?,
        object_id: row.required(8)?,
        before: row.json(9)?,
        after: row.json(10)?,
    })
}

/// Reads what `statement::replay` selects.
pub(super) fn replay(row: &Row<'_>) -> Read<Replay> {
    Ok(Replay { request: row.bytes(0)?, salt: row.bytes(1)?, new: row.hash(2)? })
}

/// Reads `statement::denials::COLUMNS`.
pub(super) fn denial_row(row: &Row<'_>) -> Read<DenialRow> {
    Ok(DenialRow {
        claim: DeniedClaim::named(&row.required(0)?).ok_or_else(|| unreadable(0, "not a claim"))?,
        issuer: row.required(1)?,
        value: row.required(2)?,
        issued_until: row.time(3)?,
        until: row.moment(4)?,
        created_at: row.moment(5)?,
        created_by: row.text(6)?,
        reason: row.text(7)?,
        allowed_at: row.time(8)?,
        epoch: row.integer(9)?,
    })
}

/// Reads what `statement::people::user` selects. A role that is not known opens nothing.
pub(super) fn user(row: &Row<'_>) -> Read<UserRecord> {
    let role = row.text(1)?.filter(|role| !role.is_empty());
    let known = role.as_deref().and_then(Role::named);
    if known.is_none() && role.is_some() {
        tracing::warn!("a user has a role that is not known here: it counts as none");
    }
    let (id, models, settings): (_, Vec<String>, Limiting) = (row.required(0)?, row.json(2)?, row.json(3)?);
    Ok(UserRecord {
        limits: settings.limits(row.real(4)?, row.integer(5)?).of("user", directory::user(&id)),
        id: id.into(),
        role: known.unwrap_or_default(),
        policy: Policy::new(&models, &[], BTreeMap::new()),
    })
}

/// Reads what `statement::people::member` selects.
pub(super) fn member_record(row: &Row<'_>) -> Read<MemberRecord> {
    let (own, of_team): (MemberLimiting, MemberDefaults) = (row.json(2)?, row.json(4)?);
    let limiting = Limiting {
        max_budget: own.max_budget_in_team.or(of_team.team_member_budget),
        rpm_limit: own.rpm_limit.or(of_team.team_member_rpm_limit),
        tpm_limit: own.tpm_limit.or(of_team.team_member_tpm_limit),
        ..Limiting::default()
    };
    let counted_as = directory::member(&row.required(0)?, &row.required(1)?);
    Ok(MemberRecord { limits: limiting.limits(row.real(3)?, row.integer(5)?).of("team_member", counted_as) })
}

/// Reads what the statements of teams select.
pub(super) fn team(row: &Row<'_>) -> Read<TeamRecord> {
    let (id, models, settings): (_, Vec<String>, TeamLimiting) = (row.required(0)?, row.json(3)?, row.json(5)?);
    let version = row.integer(7)?;
    let counted_as = directory::team(TeamName::Id(&id));
    Ok(TeamRecord {
        limits: settings.own.limits(row.real(6)?, version).of("team", counted_as),
        limits_members: settings.of_members.are_given() || row.truth(8)?.unwrap_or(true),
        version,
        id: id.into(),
        alias: row.text(1)?.map(Into::into),
        organization_id: row.text(2)?.map(Into::into),
        policy: Policy::new(&models, &[], BTreeMap::new()),
        blocked: row.truth(4)?.unwrap_or(false),
    })
}

/// Reads what `listing::usage_sums` selects.
pub(super) fn usage_sum(row: &Row<'_>) -> Read<Sum> {
    Ok(Sum {
        day: row.integer(0)?,
        caller: row.required(1)?,
        user_id: row.required(2)?,
        team_id: row.required(3)?,
        model: row.required(4)?,
        provider: row.required(5)?,
        requests: row.count(6)?,
        usage: usage(row, 7)?,
        cost: Cost(row.real(12)? as u64),
    })
}

/// Reads what `listing::usage_calls` selects.
pub(super) fn usage_call(row: &Row<'_>) -> Read<Call> {
    Ok(Call {
        request_id: row.required(0)?,
        began: row.moment(1)?,
        ended: row.moment(2)?,
        caller: row.required(3)?,
        user_id: row.required(4)?,
        team_id: row.required(5)?,
        organization_id: row.required(6)?,
        end_user_id: row.required(7)?,
        call: row.required(8)?,
        model: row.required(9)?,
        upstream_model: row.required(10)?,
        provider: row.required(11)?,
        usage: usage(row, 12)?,
        cost: Cost(row.count(17)?),
        is_estimate: row.truth(18)?.unwrap_or(false),
    })
}

/// The five columns of tokens from this one on.
fn usage(row: &Row<'_>, first: usize) -> Read<Usage> {
    Ok(Usage {
        input: row.count(first)?,
        cached: row.count(first + 1)?,
        cache_written: row.count(first + 2)?,
        output: row.count(first + 3)?,
        reasoning: row.count(first + 4)?,
    })
}

/// Reads `statement::people::TEAM_COLUMNS`; the members are read by themselves.
pub(super) fn team_row(row: &Row<'_>) -> Read<TeamRow> {
    Ok(TeamRow {
        team_id: row.required(0)?,
        version: row.integer(1)?,
        team_alias: row.text(2)?,
        organization_id: row.text(3)?,
        models: row.json(4)?,
        blocked: row.truth(5)?.ok_or_else(|| unreadable(5, "null"))?,
        spend: row.real(6)?,
        sets_spend: false,
        budget_reset_at: row.time(12)?,
        settings: row.json(7)?,
        members: Vec::new(),
        created_at: row.moment(8)?,
        created_by: row.text(9)?,
        updated_at: row.moment(10)?,
        updated_by: row.text(11)?,
    })
}

/// Reads `statement::people::USER_COLUMNS`.
pub(super) fn user_row(row: &Row<'_>) -> Read<UserRow> {
    Ok(UserRow {
        user_id: row.required(0)?,
        version: row.integer(1)?,
        user_email: row.text(2)?,
        user_alias: row.text(3)?,
        role: row.text(4)?,
        models: row.json(5)?,
        spend: row.real(6)?,
        sets_spend: false,
        budget_reset_at: row.time(12)?,
        settings: row.json(7)?,
        created_at: row.moment(8)?,
        created_by: row.text(9)?,
        updated_at: row.moment(10)?,
        updated_by: row.text(11)?,
    })
}

/// Reads the team and the member that the statements of members select.
pub(super) fn member(row: &Row<'_>) -> Read<(String, TeamMember)> {
    let member = TeamMember {
        user_id: row.required(1)?,
        user_email: row.text(2)?,
        role: MemberRole::named(&row.required(3)?).ok_or_else(|| unreadable(3, "not a role"))?,
        settings: row.json(4)?,
        spend: row.real(5)?,
        sets_spend: false,
        budget_reset_at: row.time(6)?,
    };
    Ok((row.required(0)?, member))
}

/// Reads the alias that `listing::aliases` selects.
pub(super) fn alias(row: &Row<'_>) -> Read<String> {
    row.required(0)
}

/// Reads what the statements of imports select.
pub(super) fn import_mark(row: &Row<'_>) -> Read<ImportMark> {
    Ok(ImportMark { object_id: row.required(0)?, fingerprint: row.bytes(1)?, spend: row.real(2)? })
}

/// Reads what the statements of nodes return.
pub(super) fn node(row: &Row<'_>) -> Read<NodeBeat> {
    Ok(NodeBeat { node: row.required(0)?, beat: row.integer(1)? })
}

/// Reads a count or an epoch.
pub(super) fn number(row: &Row<'_>) -> Read<i64> {
    row.integer(0)
}
