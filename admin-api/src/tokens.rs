//! The deny list: `POST /token/deny`, `POST /token/allow` and `GET /token/denied`.
//!
//! Tokens are named by their issuer and one claim, never by the token: what is kept here proves nothing to anybody. A denial
//! is made wider by another one and narrower by nothing but `/token/allow`; where two differ, both are honoured.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::audit::Author;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{AllowTokenRequest, DeniedPage, DeniedTokens, DenyTokenRequest};
use crate::duration::Span;
use crate::keys::values::UNKEEPABLE;
use crate::problem::{FieldProblem, Problem};
use crate::query::{Parameters, offset};
use crate::store::{AdminStore, DenialQuery, DenialRow, StoreError, is_keepable};
use crate::timestamp::{instant, iso8601, iso8601_or_null, now};

/// How long a denial counts if nobody says: no token that is accepted here should live longer.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long a denial may count.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// Most entries on one page.
const MAX_PAGE: u64 = 100;

/// How often a write that lost against another one is tried again.
const ATTEMPTS: usize = 5;

/// Refuses tokens before their time is over: one by `jti`, those of a subject by `sub`, those of a session by `sid`.
#[utoipa::path(post, path = "/token/deny", tag = "tokens", request_body = DenyTokenRequest, responses(
    (status = 200, body = DeniedTokens, description = "What is denied now, an earlier denial of the same name included"),
    (status = 400, description = "None or several of the claims, a time without sense, a whole token"),
    (status = 422, description = "An unknown field, a wrong type, no `issuer`"),
    (status = 507, description = "The deny list is full")))]
pub(crate) async fn deny_token(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let now = now();
    let mut body = Body::new(body);
    let named = body.named();
    let (issued_until, until) = (body.instant("issued_until"), body.instant("until"));
    let (duration, reason) = (body.text("duration"), body.text("reason"));
    let (claim, issuer, value) = body.finish(named)?;
    let asked = DenialRow {
        claim,
        issuer,
        value,
        issued_until,
        until: end(until, duration.as_deref(), now)?,
        epoch: 0,
        created_at: now,
        created_by: Some(caller.user_id()),
        reason,
        allowed_at: None,
    };
    let denial = deny(&*state.store, asked, &caller.author(), now).await.map_err(problem)?;
    Ok(Json(shown(&denial)))
}

/// Takes a denial back.
#[utoipa::path(post, path = "/token/allow", tag = "tokens", request_body = AllowTokenRequest, responses(
    (status = 200, body = DeniedTokens, description = "What was denied"),
    (status = 404, description = "No such denial is in force")))]
pub(crate) async fn allow_token(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let mut body = Body::new(body);
    let named = body.named();
    let (claim, issuer, value) = body.finish(named)?;
    for _ in 0..ATTEMPTS {
        let now = now();
        let standing = state.store.denial(claim, &issuer, &value).await?.filter(|row| row.is_in_force(now));
        let Some(standing) = standing else {
            let message = "No such denial is in force".into();
            return Err(Problem::Refused(StatusCode::NOT_FOUND, "not_found_error", message, Some(claim.name())));
        };
        let fields = (shown(&standing), Value::Null);
        let audit = caller.author().audit("allowed", "token", name(&standing), fields, now);
        match state.store.put_denial(DenialRow { allowed_at: Some(now), ..standing.clone() }, audit).await {
            Err(StoreError::Conflict) => {}
            done => return done.map(|_| Json(shown(&standing))).map_err(problem),
        }
    }
    Err(problem(StoreError::Conflict))
}

/// Lists the denials in force, the latest first.
#[utoipa::path(get, path = "/token/denied", tag = "tokens", params(
    ("page" = Option<u64>, Query, description = "From 1"),
    ("size" = Option<u64>, Query, description = "1 to 100; default 50"),
    ("claim" = Option<String>, Query, description = "jti, sub or sid"),
    ("issuer" = Option<String>, Query, description = "Whole"), ("value" = Option<String>, Query, description = "Whole")),
    responses((status = 200, body = DeniedPage)))]
pub(crate) async fn list_denied(
    State(state): State<AdminState>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("size", 50, MAX_PAGE));
    let asked = DenialQuery {
        claim: query.word("claim", &DeniedClaim::ALL.map(|claim| (claim.name(), claim))),
        issuer: query.text("issuer"),
        value: query.text("value"),
        now: now(),
        offset: offset(page, size),
        limit: size,
    };
    query.finish()?;
    let found = state.store.denials(&asked).await?;
    Ok(Json(json!({
        "denied": found.rows.iter().map(shown).collect::<Vec<_>>(),
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
    })))
}

/// Has the store deny what is asked, besides what it denies already. The same request again changes nothing.
pub(crate) async fn deny(
    store: &dyn AdminStore,
    asked: DenialRow,
    author: &Author,
    now: SystemTime,
) -> Result<DenialRow, StoreError> {
    for _ in 0..ATTEMPTS {
        let standing = store.denial(asked.claim, &asked.issuer, &asked.value).await?;
        let wider = widened(standing.as_ref(), asked.clone(), now);
        let before = standing.filter(|row| row.is_in_force(now));
        if let Some(unchanged) = before.as_ref().filter(|before| **before == wider) {
            return Ok(unchanged.clone());
        }
        let fields = (before.as_ref().map_or(Value::Null, shown), shown(&wider));
        let audit = author.audit("denied", "token", name(&wider), fields, now);
        match store.put_denial(wider, audit).await {
            Err(StoreError::Conflict) => {}
            done => return done,
        }
    }
    Err(StoreError::Conflict)
}

/// What is denied by both together. A denial holds one `issued_until` and one end, so where one denies all tokens for a
/// time and the other some for longer, it is all for longer: too much, and never too little.
fn widened(standing: Option<&DenialRow>, asked: DenialRow, now: SystemTime) -> DenialRow {
    let Some(standing) = standing else { return asked };
    let asked = DenialRow { epoch: standing.epoch, ..asked };
    if !standing.is_in_force(now) {
        return asked;
    }
    DenialRow {
        issued_until: standing.issued_until.zip(asked.issued_until).map(|(one, other)| one.max(other)),
        until: standing.until.max(asked.until),
        created_at: standing.created_at,
        created_by: standing.created_by.clone(),
        reason: asked.reason.or_else(|| standing.reason.clone()),
        ..asked
    }
}

fn end(until: Option<SystemTime>, duration: Option<&str>, now: SystemTime) -> Result<SystemTime, Problem> {
    let (param, end) = match (until, duration) {
        (Some(_), Some(_)) => return Err(Problem::invalid("until", "Give either until or duration")),
        (Some(until), None) => ("until", until),
        (None, None) => ("duration", now + LIFETIME),
        (None, Some(duration)) => {
            let span = duration.parse::<Span>();
            let span = span.map_err(|error| Problem::invalid("duration", format!("Invalid duration: {error}")))?;
            ("duration", span.after(now).unwrap_or(SystemTime::UNIX_EPOCH))
        }
    };
    if end <= now || end > now + MAX_LIFETIME {
        return Err(Problem::invalid(param, format!("{param}: a denial ends in the future, within 366 days")));
    }
    Ok(end)
}

/// The denial as an answer and an audit row show it.
fn shown(row: &DenialRow) -> Value {
    json!({
        "claim": row.claim.name(),
        "issuer": row.issuer,
        "value": row.value,
        "issued_until": iso8601_or_null(row.issued_until),
        "until": iso8601(row.until),
        "created_at": iso8601(row.created_at),
        "created_by": row.created_by,
        "reason": row.reason,
    })
}

/// The denial's name in the audit log.
fn name(row: &DenialRow) -> String {
    let (claim, value, issuer) = (row.claim.name(), &row.value, &row.issuer);
    if issuer.is_empty() { format!("{claim}={value}") } else { format!("{claim}={value} of {issuer}") }
}

fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::Conflict => {
            let message = "The denial is being changed by other requests; look at it again before changing it";
            Problem::Refused(StatusCode::CONFLICT, "bad_request_error", message.into(), None)
        }
        other => other.into(),
    }
}

/// The fields of a request, each taken once.
struct Body {
    left: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Body {
    fn new(fields: Map<String, Value>) -> Self {
        Self { left: fields, problems: Vec::new() }
    }

    /// A text; null counts as absent.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.left.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if is_keepable(&text) => Some(text),
            Some(Value::String(_)) => self.mistake("string_pattern_mismatch", name, UNKEEPABLE),
            Some(_) => self.mistake("string_type", name, "Input should be a valid string"),
        }
    }

    /// An instant; null counts as absent.
    fn instant(&mut self, name: &str) -> Option<SystemTime> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        let at = instant(&value);
        at.or_else(|| {
            self.mistake("datetime_parsing", name, "Input should be an ISO 8601 time or whole seconds since 1970")
        })
    }

    /// The claims, of which there must be one, and the issuer.
    fn named(&mut self) -> (Vec<(DeniedClaim, String)>, Option<String>) {
        let claims = DeniedClaim::ALL.into_iter().filter_map(|claim| Some((claim, self.text(claim.name())?))).collect();
        // An issuer that is assumed would deny nothing and look as if it did.
        if self.left.get("issuer").is_none_or(Value::is_null) {
            self.problems.push(FieldProblem::missing(&["body", "issuer"]));
        }
        (claims, self.text("issuer"))
    }

    fn finish(
        mut self,
        (mut claims, issuer): (Vec<(DeniedClaim, String)>, Option<String>),
    ) -> Result<(DeniedClaim, String, String), Problem> {
        self.problems.extend(self.left.keys().map(|name| FieldProblem::unknown(&["body", name])));
        if !self.problems.is_empty() {
            return Err(Problem::Fields(self.problems));
        }
        let (claim, value) = match (claims.pop(), claims.pop()) {
            (Some(only), None) if !only.1.is_empty() => only,
            _ => return Err(Problem::invalid("jti", "Give exactly one of jti, sub and sid")),
        };
        if value.starts_with("eyJ") && value.split('.').count() == 3 {
            return Err(Problem::invalid(claim.name(), "This is a token; give the value of its claim"));
        }
        Ok((claim, issuer.unwrap_or_default(), value))
    }

    fn mistake<T>(&mut self, kind: &'static str, name: &str, msg: &'static str) -> Option<T> {
        self.problems.push(FieldProblem::new(kind, &["body", name], msg));
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn denial(issued_until: Option<u64>, until: u64) -> DenialRow {
        DenialRow {
            claim: DeniedClaim::Sub,
            issuer: "i".to_owned(),
            value: "v".to_owned(),
            issued_until: issued_until.map(at),
            until: at(until),
            epoch: 0,
            created_at: at(until),
            created_by: None,
            reason: None,
            allowed_at: None,
        }
    }

    #[test]
    fn a_denial_becomes_wider_and_never_narrower() {
        let standing = |issued, until| Some(DenialRow { epoch: 7, ..denial(issued, until) });
        let taken_back =
            |issued, until| Some(DenialRow { allowed_at: Some(at(50)), ..standing(issued, until).unwrap() });
        let cases = [
            (None, (Some(90), 200), (Some(90), 200)),
            (standing(Some(90), 200), (Some(95), 150), (Some(95), 200)),
            (standing(Some(90), 200), (Some(80), 250), (Some(90), 250)),
            (standing(None, 200), (Some(90), 150), (None, 200)),
            (standing(None, 200), (Some(90), 250), (None, 250)),
            (standing(Some(90), 200), (None, 150), (None, 200)),
            (standing(None, 100), (Some(90), 150), (Some(90), 150)), // its time is over
            (taken_back(None, 200), (Some(90), 150), (Some(90), 150)),
        ];
        for (standing, (issued, until), (wide, end)) in cases {
            let wider = widened(standing.as_ref(), denial(issued, until), at(100));
            assert_eq!((wider.issued_until, wider.until), (wide.map(at), at(end)), "{standing:?}");
            assert_eq!((wider.epoch, wider.allowed_at), (standing.map_or(0, |row| row.epoch), None));
        }
    }

    #[test]
    fn a_denial_ends_in_the_future_within_a_year() {
        let now = at(1_000_000_000);
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        let cases = [
            (None, None, after(86_400)),
            (None, Some("1h"), after(3_600)),
            (after(60), None, after(60)),
            (after(366 * 86_400), None, after(366 * 86_400)),
            (None, Some("366d"), after(366 * 86_400)),
            (after(0), None, None),
            (None, Some("0s"), None),
            (None, Some("367d"), None),
            (None, Some("99999999w"), None),
            (None, Some("soon"), None),
            (after(60), Some("1h"), None),
        ];
        for (until, duration, expected) in cases {
            assert_eq!(end(until, duration, now).ok(), expected, "{until:?} {duration:?}");
        }
    }
}
