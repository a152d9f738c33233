use http::HeaderMap;

use super::*;
use crate::authn::failures::FailureThrottle;
use crate::authn::master::MasterKeys;
use crate::authn::{Authenticator, Authenticators};
use crate::credential::{CredentialSlots, Shapes};
use crate::path::CanonicalPath;
use crate::policy::Policy;
use crate::principal::Role;

/// Says the same to everybody, and notes what it was asked with.
struct Says(Result<&'static str, CustomUnavailable>, std::sync::Mutex<Vec<Option<String>>>);

impl CustomAuthenticator for Says {
    fn authenticate<'a>(
        &'a self,
        request: CustomRequest<'a>,
    ) -> BoxFuture<'a, Result<CustomAnswer, CustomUnavailable>> {
        self.1.lock().unwrap().push(request.credential.map(str::to_owned));
        ready(self.0.and_then(|json| CustomAnswer::read(json.as_bytes(), request.credential))).boxed()
    }
}

/// Knows one blocked team, and no user; or cannot be asked.
struct Kept {
    away: bool,
}

impl Directory for Kept {
    fn user<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        let answer = if self.away { Err(StoreUnavailable("away".into())) } else { Ok(None) };
        ready(answer).boxed()
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        let blocked = name == TeamName::Id("blocked");
        let policy = Policy::new(&["gpt-4o".to_owned()], &[], Default::default());
        let team = TeamRecord {
            id: "t".into(),
            alias: None,
            organization_id: None,
            policy,
            blocked,
            version: 1,
            limits: None,
            limits_members: false,
        };
        let answer = if self.away { Err(StoreUnavailable("away".into())) } else { Ok(Some(Arc::new(team))) };
        ready(answer).boxed()
    }

    fn enrol(&self, _: Enrolment) {}
}

struct Scene {
    says: Arc<Says>,
    gate: Authenticators,
}

impl Scene {
    fn new(says: Result<&'static str, CustomUnavailable>, settings: CustomSettings) -> Self {
        Self::with(says, settings, Kept { away: false })
    }

    fn with(says: Result<&'static str, CustomUnavailable>, settings: CustomSettings, kept: Kept) -> Self {
        let says = Arc::new(Says(says, Default::default()));
        let chain = vec![Authenticator::Master(MasterKeys::new(&["sk-master".into()]))];
        let custom = CustomChain::new(
            says.clone(),
            settings,
            Arc::new(kept),
            Arc::new(FailureThrottle::new(Default::default())),
        );
        Self { says, gate: Authenticators::new(chain).with_custom(custom) }
    }

    fn ask(&self, authorization: Option<&str>) -> Result<Principal, Denial> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert("authorization", value.parse().unwrap());
        }
        let path = CanonicalPath::parse("/v1/models").unwrap();
        let head = RequestHead {
            method: &http::Method::GET,
            path: &path,
            query: None,
            headers: &headers,
            source: Some([192, 0, 2, 9].into()),
            client_certificate: None,
        };
        let slots = CredentialSlots { shapes: Shapes { jwt: false, opaque: true }, ..Default::default() };
        let answer = self.gate.authenticate(&head, slots.extract(&head), None, SystemTime::now());
        answer.now_or_never().expect("nothing waits")
    }

    fn asked(&self) -> Vec<Option<String>> {
        std::mem::take(&mut *self.says.1.lock().unwrap())
    }
}

fn settings(mode: Mode) -> CustomSettings {
    CustomSettings { mode, ..Default::default() }
}

const PROVEN: &str = r#"{"outcome": "proven", "identity": {"user_id": "ann"}}"#;
const NOT_MINE: &str = r#"{"outcome": "not_mine"}"#;
const PLAIN: &str = r#"{"outcome": "refused", "status": 401}"#;
const FINAL: &str = r#"{"outcome": "refused", "status": 403, "message": "no", "stands": true}"#;
const MASTER: &str = r#"{"outcome": "key", "key": "sk-master"}"#;
const UNKNOWN: &str = r#"{"outcome": "key", "key": "sk-unknown"}"#;

fn word(outcome: Result<Principal, Denial>) -> String {
    match outcome {
        Ok(principal) => principal.method().to_owned(),
        Err(denial) => denial.reason().to_owned(),
    }
}

#[test]
fn each_answer_in_each_mode() {
    let away = Err(CustomUnavailable("away"));
    for (says, on, auto_with_master, auto_with_other) in [
        (Ok(PROVEN), "custom", "custom", "custom"),
        (Ok(NOT_MINE), "unrecognized_credential", "master_key", "unrecognized_credential"),
        (Ok(PLAIN), "custom_refused", "master_key", "unrecognized_credential"),
        (Ok(FINAL), "custom_refused", "custom_refused", "custom_refused"),
        (Ok(MASTER), "master_key", "master_key", "master_key"),
        (Ok(UNKNOWN), "unrecognized_credential", "unrecognized_credential", "unrecognized_credential"),
        (Ok("nonsense"), "custom_unavailable", "custom_unavailable", "custom_unavailable"),
        (away, "custom_unavailable", "custom_unavailable", "custom_unavailable"),
    ] {
        let (master, other) = (Some("Bearer sk-master"), Some("Bearer other"));
        assert_eq!(word(Scene::new(says, settings(Mode::On)).ask(master)), on, "{says:?} on");
        assert_eq!(word(Scene::new(says, settings(Mode::Auto)).ask(master)), auto_with_master, "{says:?} auto");
        assert_eq!(word(Scene::new(says, settings(Mode::Auto)).ask(other)), auto_with_other, "{says:?} auto");
    }
}

#[test]
fn it_is_asked_without_a_credential_too_but_not_about_one_that_is_too_long() {
    let scene = Scene::new(Ok(NOT_MINE), settings(Mode::Auto));
    assert_eq!(word(scene.ask(None)), "missing_credential");
    assert_eq!(word(scene.ask(Some("no-scheme"))), "malformed_credential");
    assert_eq!(word(scene.ask(Some("Bearer mine"))), "unrecognized_credential");
    assert_eq!(word(scene.ask(Some(&format!("Bearer {}", "x".repeat(5000))))), "malformed_credential");
    assert_eq!(scene.asked(), [None, Some(String::new()), Some("mine".to_owned())]);
    assert_eq!(
        word(Scene::new(Ok(PROVEN), settings(Mode::On)).ask(None)),
        "custom",
        "a certificate may prove somebody"
    );
}

#[test]
fn guessing_is_throttled_but_not_for_whom_it_knows() {
    /// Knows one credential.
    struct One;
    impl CustomAuthenticator for One {
        fn authenticate<'a>(
            &'a self,
            request: CustomRequest<'a>,
        ) -> BoxFuture<'a, Result<CustomAnswer, CustomUnavailable>> {
            let said = if request.credential == Some("good") { PROVEN } else { PLAIN };
            ready(CustomAnswer::read(said.as_bytes(), None)).boxed()
        }
    }
    let scene = |mode| {
        let says = Arc::new(Says(Ok(PLAIN), Default::default()));
        let failures = Arc::new(FailureThrottle::new(Default::default()));
        let custom = CustomChain::new(Arc::new(One), settings(mode), Arc::new(Kept { away: false }), failures);
        Scene { says, gate: Authenticators::new(vec![]).with_custom(custom) }
    };
    for (mode, end) in [(Mode::On, "too_many_failures"), (Mode::Auto, "unrecognized_credential")] {
        let scene = scene(mode);
        assert_eq!(word(scene.ask(Some("Bearer good"))), "custom");
        let outcomes: Vec<_> = (0..2000).map(|n| word(scene.ask(Some(&format!("Bearer bad-{n}"))))).collect();
        assert_eq!(outcomes.last().map(String::as_str), Some(end), "{mode:?}");
        assert_eq!(word(scene.ask(Some("Bearer good"))), "custom", "{mode:?}");
    }
}

#[test]
fn keys_first_spares_the_question_for_good_keys_only() {
    let scene = Scene::new(Ok(FINAL), CustomSettings { keys_first: true, ..settings(Mode::Auto) });
    assert_eq!(word(scene.ask(Some("Bearer sk-master"))), "master_key");
    assert_eq!(scene.asked(), []);
    assert_eq!(word(scene.ask(Some("Bearer sk-other"))), "custom_refused");
    assert_eq!(scene.asked().len(), 1);
    let on = Scene::new(Ok(FINAL), CustomSettings { keys_first: true, ..settings(Mode::On) });
    assert_eq!(word(on.ask(Some("Bearer sk-master"))), "custom_refused", "with mode on no key counts");
}

#[test]
fn what_is_kept_of_a_team_counts_where_it_is_asked_for() {
    const OF_BLOCKED: &str = r#"{"outcome": "proven", "identity": {"team_id": "blocked"}}"#;
    const OF_TEAM: &str = r#"{"outcome": "proven", "identity": {"team_id": "red", "user_id": "ann"}}"#;
    let checks = CustomSettings { common_checks: true, ..settings(Mode::On) };
    assert_eq!(word(Scene::new(Ok(OF_BLOCKED), settings(Mode::On)).ask(None)), "custom");
    assert_eq!(word(Scene::new(Ok(OF_BLOCKED), checks.clone()).ask(None)), "blocked_key");
    let found = Scene::new(Ok(OF_TEAM), checks.clone()).ask(None).unwrap();
    assert!(!found.allows_model("gpt-5", &Default::default()) && found.allows_model("gpt-4o", &Default::default()));
    let away = Scene::with(Ok(OF_TEAM), checks, Kept { away: true });
    assert_eq!(word(away.ask(None)), "store_unavailable");
}

#[test]
fn an_identity_without_a_role_manages_nothing() {
    for (role, admin) in [("", false), ("internal_user", false), ("proxy_admin_viewer", false), ("proxy_admin", true)] {
        let identity = format!(r#"{{"outcome": "proven", "identity": {{"user_role": "{role}"}}}}"#);
        let scene = Scene::new(Ok(identity.leak()), settings(Mode::On));
        let principal = scene.ask(None).unwrap();
        assert_eq!(principal.is_admin(), admin, "{role}");
        // With a role it is for the management API to say which routes are open to it.
        for path in ["/key/generate", "/model/info"] {
            assert_eq!(principal.allows_management_route(path), !role.is_empty(), "{role}");
        }
        assert_eq!(matches!(&principal, Principal::Custom(custom) if custom.role == Role::Admin), admin, "{role}");
    }
}
