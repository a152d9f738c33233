//! LiteLLM's tables, read as documents: column by column by its name, so that a column that a version has not got is null
//! and one that is new does no harm.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use portcullis_admin_api::store::{KeyRow, MemberRole, TeamMember, TeamRow, UserRow, is_keepable};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::calendar::iso_8601;
use serde_json::{Map, Value};
use tokio_postgres::Client;

/// Rows in memory at once.
pub(super) const PAGE: i64 = 1_000;

/// A row as JSON.
pub(super) type Document = Map<String, Value>;

/// Budgets that rows name by their id.
pub(super) type Budgets = HashMap<String, Document>;

/// The database.
pub(super) struct Source(Arc<Client>);

impl Source {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self(client)
    }

    /// A page of a table, in the order of a column that is unique, from behind this value on; empty where there is no such
    /// table.
    async fn page(&self, table: &str, column: &str, after: &str) -> Result<Vec<Document>> {
        if !self.has(table).await? {
            return Ok(Vec::new());
        }
        // COLLATE: the order of bytes, whatever that of the database is.
        let sql = format!(
            r#"SELECT row_to_json(t)::text FROM "{table}" t WHERE {column} COLLATE "C" > $1 ORDER BY {column} COLLATE "C" LIMIT {PAGE}"#
        );
        let rows = self.0.query(&sql as &str, &[&after]).await.with_context(|| format!("reading {table}"))?;
        let documents = rows.iter().map(|row| Ok(serde_json::from_str(row.try_get(0)?)?));
        documents.collect::<Result<_>>().with_context(|| format!("reading {table}"))
    }

    /// Every row of a table, in the order of a column that is unique; a page of them in memory.
    pub(super) async fn each(
        &self,
        table: &str,
        column: &str,
        mut take: impl AsyncFnMut(Document) -> Result<()>,
    ) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.page(table, column, &after).await?;
            let Some(last) = page.last().and_then(|row| text(row, column)) else { return Ok(()) };
            after = last;
            for row in page {
                take(row).await?;
            }
        }
    }

    /// The row with this value in a column that is unique.
    pub(super) async fn row(&self, table: &str, column: &str, value: &str) -> Result<Option<Document>> {
        if !self.has(table).await? {
            return Ok(None);
        }
        let sql = format!(r#"SELECT row_to_json(t)::text FROM "{table}" t WHERE {column} = $1"#);
        let row = self.0.query_opt(&sql as &str, &[&value]).await.with_context(|| format!("reading {table}"))?;
        row.map(|row| Ok(serde_json::from_str(row.try_get(0)?)?)).transpose()
    }

    /// All memberships of a team.
    pub(super) async fn memberships(&self, team_id: &str) -> Result<Vec<Document>> {
        const TABLE: &str = "LiteLLM_TeamMembership";
        if !self.has(TABLE).await? {
            return Ok(Vec::new());
        }
        let sql = format!(r#"SELECT row_to_json(t)::text FROM "{TABLE}" t WHERE team_id = $1"#);
        let rows = self.0.query(&sql as &str, &[&team_id]).await.context(TABLE)?;
        rows.iter().map(|row| Ok(serde_json::from_str(row.try_get(0)?)?)).collect()
    }

    /// Which of these values are in the column.
    pub(super) async fn those_of(&self, table: &str, column: &str, values: &[String]) -> Result<Vec<String>> {
        let sql = format!(r#"SELECT {column} FROM "{table}" WHERE {column} = ANY($1)"#);
        let rows = self.0.query(&sql as &str, &[&values]).await.with_context(|| format!("reading {table}"))?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// How many rows a table has; none where there is none.
    pub(super) async fn count(&self, table: &str) -> Result<i64> {
        if !self.has(table).await? {
            return Ok(0);
        }
        let sql = format!(r#"SELECT count(*) FROM "{table}""#);
        Ok(self.0.query_one(&sql as &str, &[]).await?.try_get(0)?)
    }

    pub(super) async fn has(&self, table: &str) -> Result<bool> {
        let name = format!("\"{table}\"");
        Ok(self.0.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await?.try_get(0)?)
    }

    pub(super) async fn budgets(&self) -> Result<Budgets> {
        let mut budgets = Budgets::new();
        let take = async |row: Document| {
            budgets.extend(text(&row, "budget_id").map(|id| (id, row)));
            Ok(())
        };
        self.each("LiteLLM_BudgetTable", "budget_id", take).await?;
        Ok(budgets)
    }
}

/// Limits and budgets, which stand in the row or in the budget that it names.
const BOUNDS: &[&str] = &[
    "max_budget",
    "soft_budget",
    "budget_duration",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
    "model_max_budget",
];

/// What else is kept under its own name.
const KEPT: &[&str] = &[
    "metadata",
    "permissions",
    "config",
    "router_settings",
    "tpd_limit",
    "budget_limits",
    "budget_fallbacks",
    "agent_id",
    "project_id",
    "policies",
    "access_group_ids",
    "allowed_cache_controls",
    "key_type",
    "auto_rotate",
    "rotation_interval",
    "budget_id",
    "sso_user_id",
    "team_member_permissions",
];

/// What LiteLLM keeps among the metadata.
const IN_METADATA: &[&str] = &[
    "model_rpm_limit",
    "model_tpm_limit",
    "soft_budget",
    "temp_budget_increase",
    "temp_budget_expiry",
    "tags",
    "guardrails",
];

/// Why a row cannot be kept here.
pub(super) type Unfit = String;

/// A key as it is kept here.
pub(super) fn key(row: &Document, budgets: &Budgets) -> Result<KeyRow, Unfit> {
    let token = text(row, "token").unwrap_or_default();
    let token: KeyHash = token.parse().map_err(|_| "its stored form is no SHA-256".to_owned())?;
    for name in ["key_alias", "user_id", "team_id", "organization_id"] {
        keepable(row, name)?;
    }
    let settings = settings(row, budgets)?;
    let at = |name| moment(row, name);
    Ok(KeyRow {
        token,
        version: 1,
        key_name: text(row, "key_name"),
        key_alias: text(row, "key_alias").filter(|alias| !alias.is_empty()),
        user_id: text(row, "user_id"),
        team_id: text(row, "team_id"),
        organization_id: text(row, "organization_id"),
        models: texts(row, "models")?,
        allowed_routes: texts(row, "allowed_routes")?,
        aliases: aliases(row)?,
        expires: at("expires")?,
        blocked: row.get("blocked").and_then(Value::as_bool),
        spend: spend(row),
        sets_spend: true,
        budget_reset_at: at("budget_reset_at")?.or(reset_of_budget(row, budgets)?),
        settings,
        rotation_count: row.get("rotation_count").and_then(Value::as_i64).unwrap_or(0),
        last_rotation_at: at("last_rotation_at")?,
        created_at: at("created_at")?.unwrap_or(UNIX_EPOCH),
        created_by: text(row, "created_by"),
        updated_at: at("updated_at")?.unwrap_or(UNIX_EPOCH),
        updated_by: text(row, "updated_by"),
        deleted_at: None,
        deleted_by: None,
    })
}

/// A team as it is kept here, with its members.
pub(super) fn team(row: &Document, memberships: &[Document], budgets: &Budgets) -> Result<TeamRow, Unfit> {
    for name in ["team_id", "team_alias", "organization_id"] {
        keepable(row, name)?;
    }
    let mut settings = settings(row, budgets)?;
    let of_members = row.get("metadata").and_then(|metadata| metadata.get("team_member_budget_id"));
    if let Some(budget) = of_members.and_then(Value::as_str).and_then(|id| budgets.get(id)) {
        for (name, here) in [
            ("max_budget", "team_member_budget"),
            ("budget_duration", "team_member_budget_duration"),
            ("rpm_limit", "team_member_rpm_limit"),
            ("tpm_limit", "team_member_tpm_limit"),
        ] {
            keep(&mut settings, here, budget.get(name));
        }
    }
    Ok(TeamRow {
        team_id: text(row, "team_id").filter(|id| !id.is_empty()).ok_or("it has no id")?,
        version: 1,
        team_alias: text(row, "team_alias").filter(|alias| !alias.is_empty()),
        organization_id: text(row, "organization_id"),
        models: texts(row, "models")?,
        blocked: row.get("blocked").and_then(Value::as_bool).unwrap_or(false),
        spend: spend(row),
        sets_spend: true,
        budget_reset_at: moment(row, "budget_reset_at")?,
        members: members(row, memberships, budgets)?,
        settings,
        created_at: moment(row, "created_at")?.unwrap_or(UNIX_EPOCH),
        created_by: None,
        updated_at: moment(row, "updated_at")?.unwrap_or(UNIX_EPOCH),
        updated_by: None,
    })
}

/// A user as they are kept here. Their password is not taken: sign-in is by an identity provider.
pub(super) fn user(row: &Document, budgets: &Budgets) -> Result<UserRow, Unfit> {
    for name in ["user_id", "user_email", "user_alias"] {
        keepable(row, name)?;
    }
    Ok(UserRow {
        user_id: text(row, "user_id").filter(|id| !id.is_empty()).ok_or("they have no id")?,
        version: 1,
        user_email: text(row, "user_email"),
        user_alias: text(row, "user_alias"),
        role: text(row, "user_role"),
        models: texts(row, "models")?,
        spend: spend(row),
        sets_spend: true,
        budget_reset_at: moment(row, "budget_reset_at")?,
        settings: settings(row, budgets)?,
        created_at: moment(row, "created_at")?.unwrap_or(UNIX_EPOCH),
        created_by: None,
        updated_at: moment(row, "updated_at")?.unwrap_or(UNIX_EPOCH),
        updated_by: None,
    })
}

/// `members_with_roles`, and of each what the membership's budget says.
fn members(row: &Document, memberships: &[Document], budgets: &Budgets) -> Result<Vec<TeamMember>, Unfit> {
    let listed = row.get("members_with_roles").and_then(Value::as_array).into_iter().flatten();
    let mut members = BTreeMap::new();
    for one in listed.filter_map(Value::as_object) {
        let Some(user_id) = text(one, "user_id") else { continue };
        for name in ["user_id", "user_email"] {
            keepable(one, name)?;
        }
        let role = text(one, "role").as_deref().and_then(MemberRole::named).unwrap_or(MemberRole::User);
        let mut member = TeamMember::new(user_id.clone(), text(one, "user_email"), role);
        let membership = memberships.iter().find(|membership| text(membership, "user_id").as_ref() == Some(&user_id));
        if let Some(membership) = membership {
            (member.spend, member.sets_spend) = (spend(membership), true);
            let budget = text(membership, "budget_id").and_then(|id| budgets.get(&id));
            for (name, here) in [
                ("max_budget", "max_budget_in_team"),
                ("budget_duration", "budget_duration"),
                ("rpm_limit", "rpm_limit"),
                ("tpm_limit", "tpm_limit"),
            ] {
                keep(&mut member.settings, here, budget.and_then(|budget| budget.get(name)));
            }
            judge(&member.settings)?;
            member.budget_reset_at = budget.map(|budget| moment(budget, "budget_reset_at")).transpose()?.flatten();
        }
        members.insert(user_id, member);
    }
    Ok(members.into_values().collect())
}

fn settings(row: &Document, budgets: &Budgets) -> Result<Document, Unfit> {
    let mut settings = Document::new();
    for name in KEPT {
        keep(&mut settings, name, row.get(*name));
    }
    let budget = text(row, "budget_id").and_then(|id| budgets.get(&id));
    for name in BOUNDS {
        let own = row.get(*name).filter(|value| !is_nothing(value));
        keep(&mut settings, name, own.or_else(|| budget.and_then(|budget| budget.get(*name))));
    }
    let lifted: Vec<_> = match settings.get_mut("metadata").and_then(Value::as_object_mut) {
        Some(metadata) => {
            let lift = |name: &&'static str| Some((*name, metadata.shift_remove(*name)?));
            IN_METADATA.iter().filter_map(lift).collect()
        }
        None => Vec::new(),
    };
    for (name, value) in &lifted {
        keep(&mut settings, name, Some(value));
    }
    if settings.get("metadata").is_some_and(is_nothing) {
        settings.shift_remove("metadata");
    }
    judge(&settings)?;
    Ok(settings)
}

/// Refuses what a decision could not be made by.
fn judge(settings: &Document) -> Result<(), Unfit> {
    let is_count = |value: &Value| value.as_u64().is_some();
    let is_amount = |value: &Value| value.as_f64().is_some_and(|amount| amount.is_finite() && amount >= 0.0);
    for (name, value) in settings {
        let fits = match name.as_str() {
            "max_budget" | "soft_budget" | "max_budget_in_team" | "team_member_budget" | "temp_budget_increase" => {
                is_amount(value)
            }
            "tpm_limit" | "rpm_limit" | "max_parallel_requests" | "team_member_rpm_limit" | "team_member_tpm_limit" => {
                is_count(value)
            }
            "model_rpm_limit" | "model_tpm_limit" => value.as_object().is_some_and(|map| map.values().all(is_count)),
            "temp_budget_expiry" => value.as_str().is_some(),
            _ => true,
        };
        if !fits {
            return Err(format!("{name} is {value}"));
        }
    }
    Ok(())
}

fn reset_of_budget(row: &Document, budgets: &Budgets) -> Result<Option<SystemTime>, Unfit> {
    let budget = text(row, "budget_id").and_then(|id| budgets.get(&id));
    budget.map(|budget| moment(budget, "budget_reset_at")).transpose().map(Option::flatten)
}

fn keep(settings: &mut Document, name: &str, value: Option<&Value>) {
    if let Some(value) = value.filter(|value| !is_nothing(value)) {
        settings.insert(name.to_owned(), value.clone());
    }
}

/// Null, or an empty list or object: how LiteLLM keeps what nobody gave.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

pub(super) fn text(row: &Document, name: &str) -> Option<String> {
    row.get(name).and_then(Value::as_str).map(str::to_owned)
}

pub(super) fn spend(row: &Document) -> f64 {
    row.get("spend").and_then(Value::as_f64).filter(|spend| spend.is_finite() && *spend >= 0.0).unwrap_or(0.0)
}

/// A time without a zone is UTC, as LiteLLM writes it.
pub(super) fn moment(row: &Document, name: &str) -> Result<Option<SystemTime>, Unfit> {
    let Some(text) = text(row, name) else { return Ok(None) };
    iso_8601(&text).map(Some).ok_or_else(|| format!("{name} is {text:?}"))
}

fn texts(row: &Document, name: &str) -> Result<Vec<String>, Unfit> {
    match row.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(list) => serde_json::from_value(list.clone()).map_err(|_| format!("{name} is no list of texts")),
    }
}

fn aliases(row: &Document) -> Result<BTreeMap<String, String>, Unfit> {
    match row.get("aliases") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(map) => {
            serde_json::from_value(map.clone()).map_err(|_| "aliases hold something else than texts".to_owned())
        }
    }
}

fn keepable(row: &Document, name: &str) -> Result<(), Unfit> {
    match text(row, name) {
        Some(text) if !is_keepable(&text) => Err(format!("{name} is too long or holds control characters")),
        _ => Ok(()),
    }
}
