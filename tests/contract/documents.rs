//! The pages that list what the code decides: `docs/errors.md` against the table of answers, and
//! `docs/migrate-from-litellm.md` against the fields that keys, teams and users take.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use portcullis_admin_api::routes::{Role, table};
use portcullis_filters::answer::answer;
use portcullis_filters::authn::custom::CustomRefusal;
use portcullis_filters::client_side::CLIENT_FIELDS;
use portcullis_filters::denial::{Denial, LimitName};
use portcullis_filters::endpoint::Dialect;
use portcullis_filters::operation::FORBIDDEN_FIELDS;
use serde_json::Value;

use crate::support::gateway;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Every denial, in the order of `Denial`: the one after this one. A new variant does not compile without a place here.
fn next(denial: &Denial) -> Option<Denial> {
    Some(match denial {
        Denial::MalformedRequest(_) => Denial::ConflictingCredentials,
        Denial::ConflictingCredentials => Denial::MissingCredential,
        Denial::MissingCredential => Denial::MalformedCredential("x"),
        Denial::MalformedCredential(_) => Denial::UnrecognizedCredential("x"),
        Denial::UnrecognizedCredential(_) => Denial::ExpiredKey,
        Denial::ExpiredKey => Denial::BlockedKey,
        Denial::BlockedKey => Denial::BlockedTeam,
        Denial::BlockedTeam => Denial::InvalidToken("x"),
        Denial::InvalidToken(_) => Denial::ExpiredToken,
        Denial::ExpiredToken => Denial::RevokedToken,
        Denial::RevokedToken => Denial::InvalidProof("x"),
        Denial::InvalidProof(_) => Denial::UnknownIdentity("x"),
        Denial::UnknownIdentity(_) => Denial::IdentityForbidden("x"),
        Denial::IdentityForbidden(_) => Denial::IssuerUnavailable("x"),
        Denial::IssuerUnavailable(_) => Denial::CustomRefused(Box::new(CustomRefusal {
            status: 403,
            kind: "auth_error".into(),
            param: None,
            message: "x".into(),
        })),
        Denial::CustomRefused(_) => Denial::CustomUnavailable("x"),
        Denial::CustomUnavailable(_) => Denial::TooManyFailures { retry_after: Duration::from_secs(1) },
        Denial::TooManyFailures { .. } => Denial::UntrustedProxy,
        Denial::UntrustedProxy => Denial::UnknownRoute,
        Denial::UnknownRoute => Denial::MethodNotAllowed,
        Denial::MethodNotAllowed => Denial::RouteClosed,
        Denial::RouteClosed => Denial::SourceForbidden,
        Denial::SourceForbidden => Denial::RouteForbidden,
        Denial::RouteForbidden => Denial::ModelForbidden("x".into()),
        Denial::ModelForbidden(_) => Denial::TeamModelForbidden("x".into()),
        Denial::TeamModelForbidden(_) => Denial::UserModelForbidden("x".into()),
        Denial::UserModelForbidden(_) => Denial::UnknownModel(None),
        Denial::UnknownModel(_) => Denial::UnsupportedDialect("x".into()),
        Denial::UnsupportedDialect(_) => Denial::UnreadableBody("x".into()),
        Denial::UnreadableBody(_) => Denial::ForbiddenField("x".into()),
        Denial::ForbiddenField(_) => Denial::InvalidField("api_key", "x"),
        Denial::InvalidField(..) => Denial::ForbiddenDestination("x"),
        Denial::ForbiddenDestination(_) => Denial::OverBudget(LimitName { scope: "key", field: "max_budget" }),
        Denial::OverBudget(limit) => Denial::RateLimited { limit: *limit, retry_after: Duration::from_secs(1) },
        Denial::RateLimited { .. } => Denial::BodyTooLarge(1),
        Denial::BodyTooLarge(_) => Denial::BodyTimeout,
        Denial::BodyTimeout => Denial::Overloaded("x"),
        Denial::Overloaded(_) => Denial::StoreUnavailable("x".into()),
        Denial::StoreUnavailable(_) => Denial::UpstreamUnavailable { model: "x".into(), cause: "x".into() },
        Denial::UpstreamUnavailable { .. } => Denial::UpstreamTimeout,
        Denial::UpstreamTimeout => return None,
    })
}

/// The row of a denial without its last cell, the words for people.
fn row(denial: &Denial) -> String {
    let body = |dialect| serde_json::from_slice::<Value>(&answer(denial, dialect).body).unwrap();
    let wire = answer(denial, Dialect::OpenAi);
    let openai = body(Dialect::OpenAi);
    assert_eq!(openai["error"]["code"], wire.status.as_str());
    let param = openai["error"]["param"].as_str().map_or_else(|| "-".to_owned(), |param| format!("`{param}`"));
    let again = wire.headers.iter().any(|(name, _)| name == "retry-after");
    assert_ne!(again, wire.headers.iter().any(|(name, _)| name == "x-should-retry"), "{denial}");
    format!(
        "| `{}` | {} | `{}` | {param} | `{}` | `{}` | {} | ",
        denial.reason(),
        wire.status.as_u16(),
        openai["error"]["type"].as_str().unwrap(),
        body(Dialect::Anthropic)["error"]["type"].as_str().unwrap(),
        body(Dialect::Gemini)["error"]["status"].as_str().unwrap(),
        if again { "yes" } else { "no" },
    ) + if openai["detail"].is_string() { DETAIL } else { "" }
}

/// Behind the row of a denial whose body has LiteLLM's other form as well.
const DETAIL: &str = "detail";

#[test]
fn the_page_of_errors_has_the_row_of_every_denial() {
    let rows: Vec<_> = std::iter::successors(Some(Denial::MalformedRequest("x")), next).map(|one| row(&one)).collect();
    let text = page("errors.md");
    let written: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written.len(), rows.len(), "the rows are\n{}", rows.join("\n"));
    for (row, line) in rows.iter().zip(&written) {
        assert_eq!(line.contains("`detail` too"), row.ends_with(DETAIL), "{line}");
        let row = row.trim_end_matches(DETAIL);
        assert!(line.starts_with(row) && line.len() > row.len() + 10, "{line}\ninstead of {row}");
    }
}

#[test]
fn the_page_of_errors_names_the_forbidden_members() {
    let text = page("errors.md");
    let (_, list) = text.split_once("## Forbidden members").unwrap();
    let (never, if_allowed) = list.split_once("Members that").unwrap();
    let (if_allowed, _) = if_allowed.split_once("Those objects").unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(quoted(never), names(FORBIDDEN_FIELDS));
    assert_eq!(quoted(if_allowed), names(&CLIENT_FIELDS));
}

/// Whether a field is in force is for people to say; that none is forgotten, or named twice, is checked here.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_migration_tells_of_every_field_of_a_key_a_team_and_a_user() {
    let text = page("migrate-from-litellm.md");
    let part = |from: &str, to: &str| quoted(text.split_once(from).unwrap().1.split_once(to).unwrap().0);
    let gateway = gateway("").start().await;
    let document = gateway.send(gateway.request(http::Method::GET, "/openapi.json")).await.json();
    let fields = |schemas: &[&str]| {
        let each = schemas.iter().flat_map(|name| {
            let properties = document["components"]["schemas"][name]["properties"].as_object().unwrap();
            properties.keys().cloned().collect::<Vec<_>>()
        });
        each.collect::<BTreeSet<_>>()
    };
    let of_key = fields(&["GenerateKeyRequest", "UpdateKeyRequest", "RegenerateKeyRequest"]);
    let of_user = fields(&["NewUserRequest", "UpdateUserRequest"]);
    let of_team = fields(&["NewTeamRequest", "UpdateTeamRequest"]);
    for (enforced, stored, known) in [
        (
            part("fields of a key are in force:", "[Limits]"),
            part("Do not rely on a limit among them:", "Users and teams"),
            of_key,
        ),
        (
            part("fields of a team count", "These are stored"),
            part("These are stored and shown, but **not enforced yet**:", "## Users"),
            of_team,
        ),
        (
            part("fields of a user are in force:", "These are kept"),
            part("kept and shown, but **not enforced yet**:", "## Refused settings"),
            of_user,
        ),
    ] {
        assert_eq!(enforced.intersection(&stored).next(), None);
        assert_eq!(enforced.union(&stored).cloned().collect::<BTreeSet<_>>(), known);
    }
    gateway.stop().await;
}

#[test]
fn the_page_of_roles_names_every_route_where_it_belongs() {
    let text = page("roles.md");
    for (open_to, role) in [
        ("every credential", Role::AnyKey),
        ("whoever has a role", Role::Own),
        ("operators, `internal_user`", Role::Manage),
        ("operators, `proxy_admin_viewer`", Role::Read),
        ("operators", Role::Admin),
    ] {
        let start = format!("| {open_to} | ");
        let listed = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        let routes = table().into_iter().filter(|route| route.role == role);
        let known = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(quoted(listed), known, "{open_to}");
    }
}

/// The words in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
