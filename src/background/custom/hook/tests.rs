//! The hook against an authoriser on the loopback interface that answers what the test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response as Reply;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use portcullis_filters::authn::custom::Verdict;
use portcullis_filters::head::RequestHead;
use portcullis_filters::path::CanonicalPath;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::config::HookForm;

/// What the authoriser answers.
#[derive(Clone)]
enum Script {
    Say(u16, Vec<(&'static str, &'static str)>, String),
    Nothing,
}

/// Method and target, fields, body.
type Asked = (String, HeaderMap, Vec<u8>);

#[derive(Clone)]
struct Authoriser {
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Authoriser {
    fn new(script: Script) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { script: Arc::new(Mutex::new(script)), asked: Arc::default(), connections: Arc::default() }
    }

    async fn listen(&self) -> HookAddress {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/decide", listener.local_addr().unwrap());
        let counted = Counted { listener, connections: Arc::clone(&self.connections) };
        let router = Router::new().fallback(Self::reply).with_state(self.clone());
        tokio::spawn(async move { axum::serve(counted, router).await });
        HookAddress::Url(url.parse().unwrap())
    }

    async fn reply(State(authoriser): State<Self>, request: Request) -> Reply {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        authoriser.asked.lock().unwrap().push((format!("{} {}", parts.method, parts.uri), parts.headers, body));
        let script = authoriser.script.lock().unwrap().clone();
        match script {
            Script::Say(status, fields, body) => {
                let reply = fields
                    .iter()
                    .fold(Reply::builder().status(status), |reply, (name, value)| reply.header(*name, *value));
                reply.body(Body::from(body)).unwrap()
            }
            Script::Nothing => std::future::pending().await,
        }
    }

    fn says(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// Counts the connections that it takes.
struct Counted {
    listener: TcpListener,
    connections: Arc<AtomicUsize>,
}

impl axum::serve::Listener for Counted {
    type Io = tokio::net::TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.listener.accept().await.unwrap()
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn settings(address: HookAddress, form: HookForm) -> HookSettings {
    HookSettings {
        address,
        form,
        timeout: Duration::from_secs(10),
        headers: vec![("x-hook-key".parse().unwrap(), "our-own".into())],
        max_questions: 2,
        body: false,
    }
}

async fn ask(hook: &Hook) -> Result<CustomAnswer, CustomUnavailable> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("authorization", "Bearer their-credential"),
        ("x-forwarded-uri", "/forged"),
        ("x-portcullis-user-id", "forged"),
        ("x-tenant", "red"),
        ("host", "gateway.example.com"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
    let head = RequestHead {
        method: &Method::POST,
        path: &path,
        query: Some("a=1"),
        headers: &headers,
        source: Some([192, 0, 2, 7].into()),
        client_certificate: None,
    };
    let now = std::time::SystemTime::now();
    hook.authenticate(CustomRequest { head: &head, credential: Some("their-credential"), body: None, now }).await
}

fn word(answer: &Result<CustomAnswer, CustomUnavailable>) -> String {
    match answer {
        Ok(answer) => match &answer.verdict {
            Verdict::Proven(identity) => format!("proven {}", identity.principal.id),
            Verdict::Key(_) => "key".to_owned(),
            Verdict::NotMine => "not mine".to_owned(),
            Verdict::Refused { refusal, stands } => format!("refused {} {stands}", refusal.status),
        },
        Err(_) => "unavailable".to_owned(),
    }
}

fn say(status: u16, fields: &[(&'static str, &'static str)], body: &str) -> Script {
    Script::Say(status, fields.to_vec(), body.to_owned())
}

const ANN: &str = r#"{"outcome": "proven", "identity": {"user_id": "ann"}}"#;

#[tokio::test]
async fn each_form_has_its_answers() {
    let user = [("remote-user", "ann")];
    let large = format!("{}{ANN}", " ".repeat(MAX_ANSWER));
    for (form, script, expected) in [
        (HookForm::Json, say(200, &[], ANN), "proven ann"),
        (HookForm::Json, say(200, &[], r#"{"outcome": "not_mine"}"#), "not mine"),
        (HookForm::Json, say(200, &[], r#"{"outcome": "refused", "status": 402}"#), "refused 402 false"),
        (HookForm::Json, say(200, &[], "yes"), "unavailable"),
        (HookForm::Json, say(200, &[], &large), "unavailable"),
        (HookForm::Json, say(403, &[], ANN), "unavailable"),
        (HookForm::Json, say(204, &[], ""), "unavailable"),
        (HookForm::Json, say(307, &[("location", "/elsewhere")], ""), "unavailable"),
        (HookForm::ExtAuthz, say(200, &user, ""), "proven ann"),
        (HookForm::ExtAuthz, say(202, &user, ""), "unavailable"),
        (HookForm::ExtAuthz, say(401, &user, ""), "refused 401 false"),
        (HookForm::ExtAuthz, say(403, &user, ""), "refused 403 true"),
        (HookForm::ExtAuthz, say(302, &[("location", "/login")], ""), "unavailable"),
        (HookForm::ExtAuthz, say(500, &user, ""), "unavailable"),
        (HookForm::ExtAuthz, say(200, &[("x-portcullis-role", "emperor")], ""), "unavailable"),
        (HookForm::ForwardAuth, say(204, &user, ""), "proven ann"),
        (HookForm::ForwardAuth, say(401, &user, ""), "refused 401 false"),
        (HookForm::ForwardAuth, say(302, &[("location", "/login")], ""), "unavailable"),
    ] {
        let authoriser = Authoriser::new(script);
        let hook = Hook::new(settings(authoriser.listen().await, form), Handle::current());
        assert_eq!(word(&ask(&hook).await), expected);
        assert_eq!(authoriser.asked().len(), 1, "no redirect is followed");
    }
}

#[tokio::test]
async fn each_form_asks_in_its_way_and_passes_on_nothing_that_a_client_forged() {
    let authoriser = Authoriser::new(say(200, &[], ANN));
    let address = authoriser.listen().await;
    for (form, line) in [
        (HookForm::Json, "POST /decide"),
        (HookForm::ExtAuthz, "POST /decide/v1/chat/completions?a=1"),
        (HookForm::ForwardAuth, "GET /decide"),
    ] {
        let hook = Hook::new(settings(address.clone(), form), Handle::current());
        ask(&hook).await.unwrap();
        let (asked, headers, body) = authoriser.asked().remove(0);
        let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((asked.as_str(), field("x-hook-key"), field("x-portcullis-user-id")), (line, Some("our-own"), None));
        match form {
            HookForm::Json => {
                let question: Value = serde_json::from_slice(&body).unwrap();
                let described =
                    json!([question["credential"], question["path"], question["query"], question["source"]]);
                assert_eq!(described, json!(["their-credential", "/v1/chat/completions", "a=1", "192.0.2.7"]));
            }
            HookForm::ExtAuthz => {
                assert_eq!((field("authorization"), field("x-tenant")), (Some("Bearer their-credential"), Some("red")));
                assert_eq!((field("x-forwarded-uri"), field("x-forwarded-for")), (None, Some("192.0.2.7")));
            }
            HookForm::ForwardAuth => {
                assert_eq!(field("x-forwarded-uri"), Some("/v1/chat/completions?a=1"));
                assert_eq!(
                    (field("x-forwarded-method"), field("x-forwarded-host")),
                    (Some("POST"), Some("gateway.example.com"))
                );
            }
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_and_a_unix_socket_serves_as_well() {
    let authoriser = Authoriser::new(say(200, &[], ANN));
    let hook = Hook::new(settings(authoriser.listen().await, HookForm::Json), Handle::current());
    for _ in 0..20 {
        assert_eq!(word(&ask(&hook).await), "proven ann");
    }
    assert!(authoriser.connections.load(Ordering::Relaxed) <= 2, "the one in use, and one that is waited for");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hook.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new().fallback(Authoriser::reply).with_state(authoriser.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let hook = Hook::new(settings(HookAddress::Unix(path), HookForm::Json), Handle::current());
    assert_eq!(word(&ask(&hook).await), "proven ann");
}

#[tokio::test]
async fn a_hook_that_is_away_or_slow_lets_nobody_in_and_is_left_alone() {
    let authoriser = Authoriser::new(Script::Nothing);
    let hasty =
        HookSettings { timeout: Duration::from_millis(100), ..settings(authoriser.listen().await, HookForm::Json) };
    let hook = Hook::new(hasty, Handle::current());
    for _ in 0..7 {
        assert_eq!(word(&ask(&hook).await), "unavailable");
    }
    assert_eq!(authoriser.asked().len(), 5, "two were not asked any more");
    authoriser.says(say(200, &[], ANN));
    let mut answer = ask(&hook).await;
    while answer.is_err() {
        tokio::task::yield_now().await;
        answer = ask(&hook).await;
    }
    assert_eq!((word(&answer), authoriser.asked().len()), ("proven ann".to_owned(), 1), "the probe, after its rest");

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = HookAddress::Url(format!("http://{gone}/").parse().unwrap());
    let hook = Hook::new(settings(address, HookForm::Json), Handle::current());
    assert_eq!(ask(&hook).await, Err(CustomUnavailable("the hook cannot be reached")));
}

#[tokio::test]
async fn no_more_questions_are_under_way_than_may_be() {
    let authoriser = Authoriser::new(Script::Nothing);
    let hook = Hook::new(settings(authoriser.listen().await, HookForm::Json), Handle::current());
    let (first, second) = (ask(&hook), ask(&hook));
    let third = async {
        until(|| authoriser.asked.lock().unwrap().len() == 2).await;
        ask(&hook).await
    };
    tokio::select! {
        _ = first => panic!("nobody answers"),
        _ = second => panic!("nobody answers"),
        third = third => {
            assert_eq!(third, Err(CustomUnavailable("as many questions are under way as may be")));
        }
    }
}

async fn until(mut there: impl FnMut() -> bool) {
    while !there() {
        tokio::task::yield_now().await;
    }
}
