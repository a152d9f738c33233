//! The statements of listings: a page and its total, from the conditions that are asked for.
//!
//! Each names `deleted_at IS NULL` or its opposite in so many words, because the indexes are partial on just that. Orders
//! end with the token, so pages never overlap.

use std::time::SystemTime;

use portcullis_admin_api::spend::{By, CallQuery, SumQuery};
use portcullis_admin_api::store::{AuditQuery, DenialQuery, KeyQuery, KeySort, KeyStatus, TeamQuery, UserQuery};
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;

use super::param::Param;
use super::statement::{KEY_COLUMNS, Statement, denials, folded, people};

/// A page and the count of all rows that it is taken from.
pub(super) struct Listing {
    pub(super) page: Statement,
    pub(super) total: Statement,
}

pub(super) fn keys(query: &KeyQuery) -> Listing {
    let mut conditions = Conditions::default();
    conditions.always(if query.status == Some(KeyStatus::Deleted) {
        "deleted_at IS NOT NULL"
    } else {
        "deleted_at IS NULL"
    });
    conditions.text("user_id = ", query.user_id.as_deref());
    conditions.text("team_id = ", query.team_id.as_deref());
    conditions.text("organization_id = ", query.organization_id.as_deref());
    if let Some(token) = query.token {
        conditions.bound("token = ", "", token.into());
    }
    match query.alias.as_deref() {
        Some(part) if query.substring => conditions.contains("alias_folded", part),
        whole => conditions.text("key_alias = ", whole),
    }
    let now = || Param::Time(query.now.unwrap_or_else(SystemTime::now));
    match query.status {
        None | Some(KeyStatus::Deleted) => {}
        Some(KeyStatus::Revoked) => conditions.always("blocked IS TRUE"),
        Some(KeyStatus::Expired) => conditions.bound("expires <= ", "", now()),
        Some(KeyStatus::Active) => {
            conditions.always("blocked IS NOT TRUE");
            conditions.bound("(expires IS NULL OR expires > ", ")", now());
        }
    }
    let order: &[&str] = match query.sort {
        KeySort::CreatedAt => &["created_at", "token"],
        KeySort::UpdatedAt => &["updated_at", "token"],
        KeySort::Expires => &["expires IS NULL", "expires", "token"],
        KeySort::Alias => &["key_alias IS NULL", "key_alias", "token"],
        KeySort::Spend => &["spend", "token"],
    };
    conditions.listing(KEY_COLUMNS, "virtual_keys", order, query.descending, (query.offset, query.limit))
}

pub(super) fn aliases(search: Option<&str>, team_id: Option<&str>, offset: u64, limit: u64) -> Listing {
    let mut conditions = Conditions::default();
    conditions.always("deleted_at IS NULL");
    conditions.always("key_alias IS NOT NULL");
    conditions.text("team_id = ", team_id);
    if let Some(part) = search {
        conditions.contains("alias_folded", part);
    }
    conditions.listing("key_alias", "virtual_keys", &["key_alias"], false, (offset, limit))
}

pub(super) fn teams(query: &TeamQuery) -> Listing {
    let mut conditions = Conditions::default();
    // True of every row: there is always something after `WHERE`.
    conditions.always("version > 0");
    conditions.text("team_id = ", query.team_id.as_deref());
    conditions.text("team_alias = ", query.alias.as_deref());
    conditions.text("organization_id = ", query.organization_id.as_deref());
    if let Some(user_id) = &query.user_id {
        let condition = "team_id IN (SELECT team_id FROM team_members WHERE user_id = ";
        conditions.bound(condition, ")", Param::Text(user_id.clone()));
    }
    let order = ["created_at", "team_id"];
    conditions.listing(people::TEAM_COLUMNS, "teams", &order, true, (query.offset, query.limit))
}

pub(super) fn users(query: &UserQuery) -> Listing {
    let mut conditions = Conditions::default();
    // True of every row, as for teams.
    conditions.always("version > 0");
    conditions.text("user_email = ", query.email.as_deref());
    conditions.text("role = ", query.role.as_deref());
    let order = ["created_at", "user_id"];
    conditions.listing(people::USER_COLUMNS, "users", &order, true, (query.offset, query.limit))
}

pub(super) fn denials(query: &DenialQuery) -> Listing {
    let mut conditions = Conditions::default();
    conditions.always("allowed_at IS NULL");
    conditions.bound("until > ", "", Param::Time(query.now));
    conditions.text("claim = ", query.claim.map(DeniedClaim::name));
    conditions.text("issuer = ", query.issuer.as_deref());
    conditions.text("value = ", query.value.as_deref());
    conditions.listing(denials::COLUMNS, "token_denials", &["epoch"], true, (query.offset, query.limit))
}

pub(super) fn audit(query: &AuditQuery) -> Listing {
    let mut conditions = Conditions::default();
    // True of every row: there is always something after `WHERE`.
    conditions.always("id > 0");
    if let Some(id) = query.id {
        conditions.bound("id = ", "", Param::Integer(id));
    }
    conditions.text("object_id = ", query.object_id.as_deref());
    conditions.text("action = ", query.action.as_deref());
    conditions.text("actor = ", query.actor.as_deref());
    let columns = "id, happened_at, actor, changed_by, source, request_id, action, object_type, object_id, \
                   fields_before, fields_after";
    conditions.listing(columns, "audit_log", &["id"], true, (query.offset, query.limit))
}

/// Sums of what calls took; what they are not told apart by is empty in each.
pub(super) fn usage_sums(query: &SumQuery) -> Statement {
    let column = |by: &By| match by {
        By::Day => "day",
        By::Caller => "caller",
        By::User => "user_id",
        By::Team => "team_id",
        By::Model => "model",
        By::Provider => "provider",
    };
    let mut conditions = Conditions::default();
    // True of every row: there is always something after `WHERE`.
    conditions.always("requests > 0");
    if let Some(from) = query.from {
        conditions.bound("day >= ", "", Param::Integer(from));
    }
    if let Some(until) = query.until {
        conditions.bound("day <= ", "", Param::Integer(until));
    }
    conditions.text("caller = ", query.caller.as_deref());
    conditions.text("user_id = ", query.user_id.as_deref());
    conditions.text("team_id = ", query.team_id.as_deref());
    conditions.text("model = ", query.model.as_deref());
    let apart: Vec<&str> = query.by.iter().map(column).collect();
    let named = |name: &str, nothing: &str| if apart.contains(&name) { name.to_owned() } else { nothing.to_owned() };
    let texts = ["caller", "user_id", "team_id", "model", "provider"].map(|name| named(name, "''")).join(", ");
    let day = named("day", "CAST(0 AS BIGINT)");
    // As a float: what calls cost is dollars to whoever reads it, and a sum of sums may be longer than a whole number.
    let counts =
        ["requests", "input_tokens", "cached_tokens", "cache_written_tokens", "output_tokens", "reasoning_tokens"];
    let counts = counts.map(|count| format!("CAST(SUM({count}) AS BIGINT)")).join(", ");
    let cost = "SUM(CAST(picodollars AS DOUBLE PRECISION))";
    let group = if apart.is_empty() { String::new() } else { format!(" GROUP BY {}", apart.join(", ")) };
    let order = match (query.dearest_first, apart.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!(" ORDER BY {cost} DESC, {}", apart.join(", ")),
        (false, false) => format!(" ORDER BY {}", apart.join(", ")),
    };
    let Conditions { sql, mut params } = conditions;
    params.push(Param::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT {day}, {texts}, {counts}, {cost} FROM usage_by_day WHERE {}{group} HAVING SUM(requests) > 0{order} LIMIT ${}",
        sql.join(" AND "),
        params.len()
    );
    Statement::composed(sql, params)
}

/// Single calls, the newest first.
pub(super) fn usage_calls(query: &CallQuery) -> Statement {
    let mut conditions = Conditions::default();
    conditions.always("request_id <> ''");
    conditions.text("request_id = ", query.request_id.as_deref());
    conditions.text("caller = ", query.caller.as_deref());
    conditions.text("user_id = ", query.user_id.as_deref());
    if let Some(from) = query.from {
        conditions.bound("began_at >= ", "", Param::Time(from));
    }
    if let Some(before) = query.before {
        conditions.bound("began_at < ", "", Param::Time(before));
    }
    let columns = "request_id, began_at, ended_at, caller, user_id, team_id, organization_id, end_user_id, call, model, \
                   upstream_model, provider, input_tokens, cached_tokens, cache_written_tokens, output_tokens, \
                   reasoning_tokens, picodollars, is_estimate";
    conditions.listing(columns, "usage_log", &["began_at", "request_id"], true, (query.offset, query.limit)).page
}

/// A `WHERE` clause under way, with the values bound in it.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    params: Vec<Param>,
}

impl Conditions {
    fn always(&mut self, condition: &str) {
        self.sql.push(condition.to_owned());
    }

    fn text(&mut self, before: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.bound(before, "", Param::Text(value.to_owned()));
        }
    }

    fn contains(&mut self, column: &str, part: &str) {
        let mut pattern = String::from("%");
        for letter in folded(part).chars() {
            if matches!(letter, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push('%');
        self.bound(&format!("{column} LIKE "), " ESCAPE '\\'", Param::Text(pattern));
    }

    fn bound(&mut self, before: &str, after: &str, value: Param) {
        self.params.push(value);
        self.sql.push(format!("{before}${}{after}", self.params.len()));
    }

    fn listing(
        self,
        columns: &str,
        table: &str,
        order: &[&str],
        reversed: bool,
        (offset, limit): (u64, u64),
    ) -> Listing {
        let conditions = self.sql.join(" AND ");
        let direction = if reversed { " DESC" } else { "" };
        let order: Vec<String> = order.iter().map(|key| format!("{key}{direction}")).collect();
        let total = format!("SELECT count(*) FROM {table} WHERE {conditions}");
        let total = Statement::composed(total, self.params.clone());
        let (bound, mut params) = (self.params.len(), self.params);
        params.extend([limit, offset].map(|number| Param::Integer(i64::try_from(number).unwrap_or(i64::MAX))));
        let page = format!(
            "SELECT {columns} FROM {table} WHERE {conditions} ORDER BY {} LIMIT ${} OFFSET ${}",
            order.join(", "),
            bound + 1,
            bound + 2
        );
        Listing { page: Statement::composed(page, params), total }
    }
}
