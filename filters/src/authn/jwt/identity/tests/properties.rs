//! Over claims that nobody thought of: no rights out of nothing, and none by leaving a claim out.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::policy::AccessGroups;
use crate::principal::Principal;

const CLAIMS: &[&str] = &[
    "sub",
    "email",
    "scope",
    "scp",
    "roles",
    "user_roles",
    "groups",
    "team",
    "alias",
    "oid",
    "org",
    "_litellm_user_id",
];

const ADMIN_WORDS: &[&str] = &["litellm_proxy_admin", "root", "boss"];

const WORDS: &[&str] = &[
    "ann",
    "viewer",
    "teams-only",
    "eng",
    "ops",
    "old",
    "Engineering",
    "ann@example.com",
    "staff",
    "apps",
    "member",
    "llm.small",
    "llm.large",
    "proxy_admin",
    "management_routes",
    "*",
    "",
];

const MODELS: &[&str] = &["gpt-4o", "gpt-4o-mini", "o3", "claude"];

/// The management routes that only an admin may call, and some that do not exist.
const ADMIN_PATHS: &[&str] = &[
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/block",
    "/key/aliases",
    "/key/sk-1/regenerate",
    "/audit",
    "/audit/1",
    "/user/new",
    "/team/new",
    "/v1/key/generate",
    "/model/new",
    "/",
];

type Words = BTreeMap<&'static str, Vec<&'static str>>;

/// A claim that is a name is one word or null; of the others a single word may be a list or not.
fn given(words: &Words, lists: bool) -> Value {
    let written = |(claim, words): (&&str, &Vec<&str>)| {
        let value = match words.as_slice() {
            words if matches!(*claim, "sub" | "email" | "alias" | "oid" | "org") => json!(words.first()),
            [single] if !lists => json!(single),
            words => json!(words),
        };
        ((*claim).to_owned(), value)
    };
    Value::Object(words.iter().map(written).collect())
}

fn words(pool: Vec<&'static str>) -> impl Strategy<Value = Words> {
    let few = proptest::collection::vec(proptest::sample::select(pool), 0..4);
    btree_map(proptest::sample::select(CLAIMS), few, 0..CLAIMS.len())
}

fn any_rules() -> impl Strategy<Value = ClaimRules> {
    any::<[bool; 14]>().prop_map(|on| {
        let some = |switch: usize, claim: &str| if on[switch] { path(claim) } else { None };
        let mapped = [("staff", Role::InternalUser), ("apps", Role::Team), ("root", Role::Admin)];
        let mapped = mapped.map(|(name, role)| (name.to_owned(), role)).to_vec();
        let scopes = [("llm.small", &["gpt-4o-mini"][..]), ("llm.large", &["gpt-4o", "o3"])];
        ClaimRules {
            user_id: some(0, "sub"),
            user_email: some(1, "email"),
            email_domain: on[2].then(|| "example.com".to_owned()),
            enrol_users: on[3],
            user_roles: on[4].then(|| (path("user_roles").unwrap(), vec!["member".to_owned()])),
            team_id: some(5, "team"),
            team_ids: some(6, "groups"),
            roles: on[7].then(|| (path("roles").unwrap(), mapped)),
            object_id: some(8, "oid"),
            enforce_rbac: on[9],
            scopes: on[10].then(|| scopes.map(|(scope, names)| (scope.to_owned(), models(names))).to_vec()),
            enrol_teams: on[11],
            team_required: on[12],
            default_team: on[13].then(|| "all".to_owned()),
            ..ClaimRules::default()
        }
    })
}

fn bearer(rules: &ClaimRules, given: Value, directory: &dyn Directory) -> Result<Principal, Denial> {
    principal(rules, given, directory).map(|principal| Principal::Token(Arc::new(principal)))
}

/// Knows everybody, and nothing against anybody.
struct Everybody;

impl Directory for Everybody {
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        let user = UserRecord { id: id.into(), role: Role::None, policy: Policy::default(), limits: None };
        Box::pin(ready(Ok(Some(Arc::new(user)))))
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        let (TeamName::Id(name) | TeamName::Alias(name)) = name;
        let policy = Policy::default();
        let team = TeamRecord {
            id: name.into(),
            alias: None,
            organization_id: None,
            policy,
            blocked: false,
            version: 1,
            limits: None,
            limits_members: false,
        };
        Box::pin(ready(Ok(Some(Arc::new(team)))))
    }

    fn enrol(&self, _: Enrolment) {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nobody becomes an admin without a word that makes one, and only an admin has an admin's routes.
    #[test]
    fn no_claims_but_an_admins_open_management(rules in any_rules(), words in words(WORDS.to_vec()), lists: bool) {
        if let Ok(bearer) = bearer(&rules, given(&words, lists), &Known::usual()) {
            prop_assert!(!bearer.is_admin());
            for path in ADMIN_PATHS {
                prop_assert!(!bearer.allows_management_route(path), "{}", path);
            }
        }
    }

    #[test]
    fn only_an_admin_has_an_admins_routes(
        rules in any_rules(),
        words in words([WORDS, ADMIN_WORDS].concat()),
        lists: bool,
    ) {
        if let Ok(bearer) = bearer(&rules, given(&words, lists), &Known::usual()) {
            for path in ADMIN_PATHS {
                prop_assert_eq!(bearer.allows_management_route(path), bearer.is_admin(), "{}", path);
            }
        }
    }

    /// What a token may do without a claim it may do with it, as far as the claims go.
    #[test]
    fn leaving_a_claim_out_widens_nothing(
        rules in any_rules(),
        words in words([WORDS, ADMIN_WORDS].concat()),
        lists: bool,
        left_out in proptest::sample::select(CLAIMS),
    ) {
        prop_assume!(rules.enforce_rbac || rules.scopes.is_some());
        // In LiteLLM's order a user's claim makes a user of what would else be a team by its object id: where a team is
        // asked for, such a token is refused, and without that claim it is not.
        let asks_for_team = rules.object_id.is_none();
        let rules = ClaimRules {
            team_id: rules.team_id.filter(|_| asks_for_team),
            team_required: rules.team_required && asks_for_team,
            ..rules
        };
        let mut fewer = words.clone();
        fewer.remove(left_out);
        let Ok(less) = bearer(&rules, given(&fewer, lists), &Everybody) else { return Ok(()) };
        let more = bearer(&rules, given(&words, lists), &Everybody);
        prop_assert!(more.is_ok(), "{:?}", more);
        let more = more.unwrap();
        prop_assert!(more.is_admin() || !less.is_admin());
        for model in MODELS {
            let allows = |bearer: &Principal| bearer.allows_model(model, &AccessGroups::default());
            prop_assert!(more.is_admin() || allows(&more) || !allows(&less), "{}", model);
        }
    }
}
