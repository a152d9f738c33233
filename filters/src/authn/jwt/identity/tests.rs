//! Claims against rules and a directory, as tables: what comes out is the principal in a few words, or the log's word
//! for the refusal.

use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde_json::{Value, json};

use super::*;
use crate::authn::jwt::claims::ClaimPath;
use crate::authn::virtual_key::StoreUnavailable;
use crate::directory::{Directory, Enrolment, TeamName, TeamRecord, UserRecord};

mod properties;
mod rights;
mod teams;

fn path(text: &str) -> Option<ClaimPath> {
    Some(text.parse().unwrap())
}

fn rules(change: impl FnOnce(&mut ClaimRules)) -> ClaimRules {
    let mut rules = ClaimRules::default();
    change(&mut rules);
    rules
}

fn claims(value: Value) -> Claims {
    let Value::Object(object) = value else { panic!("claims are an object") };
    Claims::from_object(object)
}

fn models(names: &[&str]) -> Policy {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Policy::granting(Some(&names), None)
}

/// A directory that answers at once.
#[derive(Default)]
struct Known {
    users: Vec<UserRecord>,
    teams: Vec<TeamRecord>,
    is_down: bool,
    enrolled: Mutex<Vec<Enrolment>>,
}

impl Known {
    /// The users and teams that these tests speak of.
    fn usual() -> Self {
        let user = |id: &str, role, policy| UserRecord { id: id.into(), role, policy, limits: None };
        let team = |id: &str, alias: &str, policy, blocked| TeamRecord {
            id: id.into(),
            alias: Some(alias.into()),
            organization_id: None,
            policy,
            blocked,
            version: 1,
            limits: None,
            limits_members: false,
        };
        Self {
            users: vec![
                user("ann", Role::None, Policy::default()),
                user("ann@example.com", Role::None, Policy::default()),
                user("viewer", Role::InternalUserViewer, Policy::default()),
                user("boss", Role::Admin, Policy::default()),
                user("teams-only", Role::InternalUser, models(&["no-default-models"])),
            ],
            teams: vec![
                team("eng", "Engineering", models(&["gpt-4o"]), false),
                team("ops", "Operations", models(&["o3"]), false),
                team("all", "Everybody", Policy::default(), false),
                team("old", "Left", Policy::default(), true),
            ],
            ..Self::default()
        }
    }

    fn answer<T: Clone>(&self, found: Option<&T>) -> Result<Option<Arc<T>>, StoreUnavailable> {
        if self.is_down { Err(StoreUnavailable("away".to_owned())) } else { Ok(found.cloned().map(Arc::new)) }
    }
}

impl Directory for Known {
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        Box::pin(ready(self.answer(self.users.iter().find(|user| &*user.id == id))))
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        let is_named = |team: &&TeamRecord| match name {
            TeamName::Id(id) => &*team.id == id,
            TeamName::Alias(alias) => team.alias.as_deref() == Some(alias),
        };
        Box::pin(ready(self.answer(self.teams.iter().find(is_named))))
    }

    fn enrol(&self, enrolment: Enrolment) {
        self.enrolled.lock().unwrap().push(enrolment);
    }
}

fn principal(rules: &ClaimRules, given: Value, directory: &dyn Directory) -> Result<TokenPrincipal, Denial> {
    let identity = rules.identify(&claims(given))?;
    let resolved = rules.resolve(&identity, directory, UNIX_EPOCH).now_or_never().unwrap();
    if let Some(settled) = identity.settled(UNIX_EPOCH, rules) {
        assert_eq!(resolved.as_ref(), Ok(&settled), "what is settled needs no directory");
    }
    resolved
}

/// `id role [teams]`, or the denial as the log has it.
fn outcome(rules: &ClaimRules, given: &Value, directory: &Known) -> String {
    match principal(rules, given.clone(), directory) {
        Ok(principal) => {
            let teams: Vec<&str> = principal.teams.iter().map(|team| &*team.id).collect();
            format!("{} {} [{}]", principal.id, principal.role.name(), teams.join(","))
        }
        Err(denial) => denial.cause(),
    }
}

fn check(rules: &ClaimRules, table: &[(Value, &str)]) {
    for (given, expected) in table {
        assert_eq!(outcome(rules, given, &Known::usual()), *expected, "{given}");
    }
}

const NO_TEXT: &str = "invalid token: a claim of another type than text";
const NO_NAME: &str = "invalid token: a name that is too long or has control characters";

#[test]
fn without_any_rule_a_token_is_somebody_without_a_role() {
    check(
        &ClaimRules::default(),
        &[
            (json!({"sub": "s"}), "s  []"),
            (json!({}), "token without a subject  []"),
            (json!({"sub": "s", "groups": ["eng"], "roles": ["admin"], "team_id": "eng"}), "s  []"),
            (json!({"sub": 5}), NO_TEXT),
            (json!({"sub": "s\n"}), NO_NAME),
        ],
    );
}

#[test]
fn a_user_is_named_by_the_claim_or_by_the_address() {
    let by_id = rules(|rules| {
        rules.user_id = path("sub");
        rules.user_email = path("contact.email");
    });
    check(
        &by_id,
        &[
            (json!({"sub": "ann"}), "ann internal_user []"),
            (json!({"sub": "ann", "contact": {"email": "x@y.z"}}), "ann internal_user []"),
            (json!({"contact": {"email": "ann@example.com"}}), "ann@example.com internal_user []"),
            (json!({"sub": "", "contact": {"email": "ann@example.com"}}), "ann@example.com internal_user []"),
            (json!({"sub": null, "contact": {"email": "ann@example.com"}}), "ann@example.com internal_user []"),
            (json!({"sub": "Ann"}), "unknown identity: no such user"),
            (json!({"sub": "ann "}), "unknown identity: no such user"),
            (json!({"sub": "viewer"}), "viewer internal_user_viewer []"),
            (json!({"sub": "boss"}), "boss proxy_admin []"),
            (json!({"contact": "ann@example.com"}), "token without a subject  []"),
            (json!({"sub": "ann", "contact": {"email": ["ann@example.com"]}}), NO_TEXT),
            (json!({"sub": ["ann"]}), NO_TEXT),
            (json!({"sub": {"id": "ann"}}), NO_TEXT),
            (json!({"sub": true}), NO_TEXT),
            (json!({"sub": "x".repeat(513)}), NO_NAME),
            (json!({"sub": "x".repeat(512)}), "unknown identity: no such user"),
            (json!({"sub": "ann\u{0}"}), NO_NAME),
            (json!({"sub": "ann\u{85}"}), NO_NAME),
        ],
    );
}

#[test]
fn names_that_the_gateway_makes_itself_are_nothing_in_a_token() {
    let rules = rules(|rules| rules.user_id = path("sub"));
    let given =
        json!({"sub": "ann", "_litellm_user_id": "boss", "_litellm_jwt_issuer": "i", "_litellm_team_id": "eng"});
    check(&rules, &[(given, "ann internal_user []")]);
}

#[test]
fn the_other_names_are_carried_and_bounded() {
    let rules = rules(|rules| {
        rules.user_email = path("email");
        rules.organization_id = path("org");
        rules.end_user_id = path("customer");
    });
    let given = json!({"sub": "s", "email": "ann@example.com", "org": "acme", "customer": "c1"});
    let principal = principal(&rules, given, &Known::usual()).unwrap();
    assert_eq!(principal.user_email.as_deref(), Some("ann@example.com"));
    assert_eq!(principal.organization_id.as_deref(), Some("acme"));
    assert_eq!(principal.end_user_id.as_deref(), Some("c1"));
    for claim in ["email", "org", "customer"] {
        check(&rules, &[(json!({"sub": "s", claim: 1}), NO_TEXT), (json!({"sub": "s", claim: "a\tb"}), NO_NAME)]);
    }
}

#[test]
fn the_domain_is_what_stands_behind_the_last_at() {
    let rules = rules(|rules| {
        rules.user_email = path("email");
        rules.email_domain = Some("example.com".to_owned());
        rules.enrol_users = true;
    });
    let refused = "identity forbidden: the domain of the e-mail address";
    for (email, expected) in [
        (json!("ann@example.com"), "ann@example.com internal_user []"),
        (json!("a@b@example.com"), "a@b@example.com internal_user []"),
        (json!("ann@Example.com"), refused),
        (json!("ann@example.com.evil.org"), refused),
        (json!("ann@sub.example.com"), refused),
        (json!("ann@example.com@evil.org"), refused),
        (json!("example.com"), refused),
        (json!("@example.com"), refused),
        (json!("ann@example.com "), refused),
        (json!(""), refused),
        (json!(null), refused),
        (json!(7), NO_TEXT),
    ] {
        check(&rules, &[(json!({"email": email, "sub": "s"}), expected)]);
    }
    check(&rules, &[(json!({"sub": "s"}), refused), (json!({"scope": "litellm_proxy_admin"}), refused)]);
    let directory = Known::usual();
    outcome(&rules, &json!({"email": "eve@evil.org"}), &directory);
    assert_eq!(*directory.enrolled.lock().unwrap(), [], "nobody of another domain is enrolled");
}

#[test]
fn the_admin_scope_makes_an_admin_whatever_else_is_named() {
    let rules = rules(|rules| {
        rules.user_id = path("sub");
        rules.team_id = path("team");
        rules.user_roles = Some((path("roles").unwrap(), vec!["member".to_owned()]));
    });
    check(
        &rules,
        &[
            (json!({"sub": "root", "scope": "litellm_proxy_admin"}), "root proxy_admin []"),
            (json!({"sub": "root", "scope": "openid litellm_proxy_admin"}), "root proxy_admin []"),
            (json!({"sub": "root", "scope": ["openid", "litellm_proxy_admin"]}), "root proxy_admin []"),
            (json!({"sub": "root", "scp": "litellm_proxy_admin"}), "root proxy_admin []"),
            (json!({"sub": "root", "scp": ["litellm_proxy_admin"], "scope": "openid"}), "root proxy_admin []"),
            (json!({"sub": "root", "team": "eng", "scope": "litellm_proxy_admin"}), "root proxy_admin []"),
            (
                json!({"sub": "ann", "team": "eng", "roles": "member", "scope": "litellm_proxy_admin2"}),
                "ann team [eng]",
            ),
            (
                json!({"sub": "ann", "team": "eng", "roles": "member", "scope": ["x litellm_proxy_admin"]}),
                "ann team [eng]",
            ),
            (
                json!({"sub": "ann", "team": "eng", "roles": "member", "scopes": "litellm_proxy_admin"}),
                "ann team [eng]",
            ),
            (json!({"sub": "root", "scope": {"litellm_proxy_admin": true}}), NO_TEXT),
            (json!({"sub": "root", "scope": ["litellm_proxy_admin", 1]}), NO_TEXT),
            (json!({"sub": "root", "scp": 1}), NO_TEXT),
        ],
    );
    let unnamed = ClaimRules { admin_scope: String::new(), ..ClaimRules::default() };
    check(&unnamed, &[(json!({"sub": "s", "scope": ""}), "s  []"), (json!({"sub": "s", "scope": [""]}), "s  []")]);
}

#[test]
fn users_must_have_one_of_their_roles() {
    let rules = rules(|rules| {
        rules.user_id = path("sub");
        rules.user_roles = Some((path("realm_access.roles").unwrap(), vec!["llm".to_owned(), "ml".to_owned()]));
    });
    let refused = "identity forbidden: none of the roles that users must have";
    for (roles, expected) in [
        (json!(["llm"]), "ann internal_user []"),
        (json!(["x", "ml"]), "ann internal_user []"),
        (json!("llm"), "ann internal_user []"),
        (json!(["LLM"]), refused),
        (json!("l"), refused),
        (json!("llm ml"), refused),
        (json!([]), refused),
        (json!(null), refused),
        (json!([["llm"]]), NO_TEXT),
        (json!({"llm": true}), NO_TEXT),
    ] {
        check(&rules, &[(json!({"sub": "ann", "realm_access": {"roles": roles}}), expected)]);
    }
    check(&rules, &[(json!({"sub": "ann"}), refused)]);
}

fn by_role() -> ClaimRules {
    let mapped = [("staff", Role::InternalUser), ("apps", Role::Team), ("root", Role::Admin)];
    rules(|rules| {
        rules.roles = Some((path("roles").unwrap(), mapped.map(|(name, role)| (name.to_owned(), role)).to_vec()));
        rules.object_id = path("oid");
        rules.enforce_rbac = true;
    })
}

#[test]
fn the_providers_roles_are_mapped_and_say_what_the_object_is() {
    check(
        &by_role(),
        &[
            (json!({"roles": ["staff"], "oid": "ann"}), "ann internal_user []"),
            (json!({"roles": "staff", "oid": "ann"}), "ann internal_user []"),
            (json!({"roles": ["apps"], "oid": "eng", "sub": "s"}), "s team [eng]"),
            (json!({"roles": ["apps"], "oid": "eng"}), "eng team [eng]"),
            (json!({"roles": ["root"], "sub": "s"}), "s proxy_admin []"),
            (json!({"roles": ["apps", "staff"], "oid": "ann"}), "ann internal_user []"),
            (json!({"roles": ["apps"], "oid": "nobody"}), "unknown identity: no such team"),
            (json!({"roles": ["staff"], "oid": "nobody"}), "unknown identity: no such user"),
            (json!({"roles": ["staff"], "oid": 7}), NO_TEXT),
            (json!({"roles": ["other"], "oid": "ann"}), "identity forbidden: no role"),
            (json!({"oid": "ann"}), "identity forbidden: no role"),
            (json!({"roles": ["staff"]}), "identity forbidden: it names neither user nor team"),
            (json!({"roles": ["apps"]}), "identity forbidden: it names neither user nor team"),
            (json!({"roles": {"0": "root"}}), NO_TEXT),
        ],
    );
    let open = ClaimRules { enforce_rbac: false, ..by_role() };
    check(&open, &[(json!({"sub": "s"}), "s  []"), (json!({"roles": ["staff"], "sub": "s"}), "s internal_user []")]);
}

/// LiteLLM's order (contract 03, section 5), but for an admin by role.
#[test]
fn team_and_user_claims_count_before_mapped_roles() {
    let rules = rules(|rules| {
        *rules = by_role();
        rules.user_id = path("sub");
        rules.team_id = path("team");
        rules.default_team = None;
    });
    check(
        &rules,
        &[
            (json!({"sub": "ann", "team": "eng", "roles": ["staff"]}), "ann team [eng]"),
            (json!({"sub": "ann", "team": "eng", "roles": ["root"]}), "ann proxy_admin []"),
            (json!({"sub": "ann", "team": "eng", "roles": ["staff"], "oid": "ops"}), "ann team [ops]"),
            (json!({"sub": "ann", "team": "eng"}), "ann team [eng]"),
        ],
    );
}

#[test]
fn unknown_users_are_refused_or_enrolled() {
    let strict = rules(|rules| {
        rules.user_id = path("sub");
        rules.user_email = path("email");
    });
    let given = json!({"sub": "new", "email": "new@example.com"});
    let directory = Known::usual();
    assert_eq!(outcome(&strict, &given, &directory), "unknown identity: no such user");
    assert_eq!(*directory.enrolled.lock().unwrap(), []);

    let enrolling = ClaimRules { enrol_users: true, ..strict };
    assert_eq!(outcome(&enrolling, &given, &directory), "new internal_user []");
    assert_eq!(outcome(&enrolling, &json!({"sub": "ann"}), &directory), "ann internal_user []");
    let user = Enrolment::User { id: "new".to_owned(), email: Some("new@example.com".to_owned()) };
    assert_eq!(*directory.enrolled.lock().unwrap(), [user], "once, and nobody who is known");
}

#[test]
fn a_store_that_is_away_is_neither_a_pass_nor_a_stranger() {
    let rules = rules(|rules| {
        rules.user_id = path("sub");
        rules.team_ids = path("groups");
        rules.enrol_users = true;
        rules.enrol_teams = true;
    });
    let directory = Known { is_down: true, ..Known::usual() };
    for given in [json!({"sub": "ann"}), json!({"groups": ["eng"]}), json!({"sub": "ann", "groups": ["eng", "new"]})] {
        assert_eq!(outcome(&rules, &given, &directory), "store unavailable: away", "{given}");
    }
    assert_eq!(*directory.enrolled.lock().unwrap(), []);
    let admin = json!({"sub": "ann", "scope": "litellm_proxy_admin"});
    assert_eq!(outcome(&rules, &admin, &directory), "ann proxy_admin []", "an admin by scope needs no row");
}
