//! The client against an issuer on the loopback interface that answers what the test says.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response as Reply;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA+/~=";

/// What arrived at the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    line: String,
    authorization: String,
    content_type: String,
    body: String,
}

/// What the issuer answers.
#[derive(Clone)]
enum Script {
    Say(u16, String),
    Redirect,
    Nothing,
    HalfAnAnswer,
}

#[derive(Clone)]
struct Issuer {
    script: Script,
    asked: Arc<Mutex<Vec<Asked>>>,
    arrived: Arc<Notify>,
    left: Arc<Notify>,
    address: SocketAddr,
}

/// Says when the issuer stops working on a question.
struct Work(Arc<Notify>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Issuer {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Self { script, asked: Arc::default(), arrived: Arc::default(), left: Arc::default(), address };
        let router = Router::new().fallback(Self::reply).with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    async fn reply(State(issuer): State<Self>, request: Request) -> Reply {
        let _work = Work(Arc::clone(&issuer.left));
        let (parts, body) = request.into_parts();
        let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default().to_owned();
        let (authorization, content_type) = (header("authorization"), header("content-type"));
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let line = format!("{} {}", parts.method, parts.uri);
        issuer.asked.lock().unwrap().push(Asked { line, authorization, content_type, body });
        issuer.arrived.notify_one();
        match issuer.script {
            Script::Say(status, body) => Reply::builder().status(status).body(Body::from(body)).unwrap(),
            Script::Redirect => {
                Reply::builder().status(307).header("location", "/elsewhere").body(Body::empty()).unwrap()
            }
            Script::Nothing => pending().await,
            Script::HalfAnAnswer => {
                Reply::builder().header("content-length", "100").body(Body::from_stream(half())).unwrap()
            }
        }
    }

    fn endpoint(&self, question: OpaqueKind) -> Endpoint {
        endpoint(self.address, question)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The beginning of an answer, and then nothing for ever.
fn half() -> impl futures_util::Stream<Item = Result<&'static str, std::io::Error>> {
    use futures_util::StreamExt;
    futures_util::stream::iter([Ok("{\"active\":true")]).chain(futures_util::stream::pending())
}

/// Its deadline is short where the issuer is meant to miss it, and long where it is not.
fn endpoint(address: SocketAddr, kind: OpaqueKind) -> Endpoint {
    let url = format!("http://{address}/ask").parse().unwrap();
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Endpoint::new(client, url, kind, Duration::from_secs(30), Handle::current())
}

fn introspection() -> OpaqueKind {
    OpaqueKind::Introspection { client_id: "gate:way".to_owned(), client_secret: "s3cr t%".into() }
}

async fn ask(endpoint: &Endpoint) -> Result<Option<Claims>, TokenInfoUnavailable> {
    endpoint.ask(TOKEN.into()).await
}

#[tokio::test]
async fn introspection_proves_who_asks_and_keeps_the_token_out_of_the_url() {
    let issuer = Issuer::start(Script::Say(200, r#"{"active":false}"#.to_owned())).await;
    assert_eq!(ask(&issuer.endpoint(introspection())).await, Ok(None));
    let expected = Asked {
        line: "POST /ask".to_owned(),
        authorization: "Basic Z2F0ZSUzQXdheTpzM2NyK3QlMjU=".to_owned(),
        content_type: "application/x-www-form-urlencoded".to_owned(),
        body: "token=2YotnFZFEjr1zCsicMWpAA%2B%2F%7E%3D&token_type_hint=access_token".to_owned(),
    };
    assert_eq!(issuer.asked(), [expected]);
}

#[tokio::test]
async fn userinfo_is_asked_with_the_token_alone() {
    let issuer = Issuer::start(Script::Say(401, String::new())).await;
    assert_eq!(ask(&issuer.endpoint(OpaqueKind::Userinfo)).await, Ok(None));
    let expected = Asked {
        line: "GET /ask".to_owned(),
        authorization: format!("Bearer {TOKEN}"),
        content_type: String::new(),
        body: String::new(),
    };
    assert_eq!(issuer.asked(), [expected]);
}

/// What an answer says of the token: good, not good, or nothing.
fn verdict(answer: Result<Option<Claims>, TokenInfoUnavailable>) -> &'static str {
    match answer {
        Ok(Some(_)) => "good",
        Ok(None) => "not good",
        Err(_) => "nothing",
    }
}

#[tokio::test]
async fn an_answer_is_what_the_status_and_the_body_say_together() {
    let padded = |length: usize| format!(r#"{{"active":true,"sub":"{}"}}"#, "a".repeat(length - 24));
    for (status, body, of_introspection, of_userinfo) in [
        (200, r#"{"active":true,"sub":"u"}"#, "good", "good"),
        (200, r#"{"active":false,"sub":"u"}"#, "not good", "not good"),
        (200, r#"{"active":true,"sub":"u","error":"server_error"}"#, "nothing", "nothing"),
        (200, r#"{"active":"true"}"#, "nothing", "good"),
        (200, r#"{"active":true,"active":false,"sub":"u"}"#, "nothing", "nothing"),
        (200, r#"{"sub":"u"}"#, "nothing", "good"),
        (200, r#"[{"active":true,"sub":"u"}]"#, "nothing", "nothing"),
        (200, "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "nothing", "nothing"),
        (200, "", "nothing", "nothing"),
        (201, r#"{"active":true,"sub":"u"}"#, "nothing", "nothing"),
        (204, "", "nothing", "nothing"),
        (400, r#"{"active":true,"sub":"u"}"#, "nothing", "not good"),
        (401, r#"{"active":true,"sub":"u"}"#, "nothing", "not good"),
        (403, r#"{"active":true,"sub":"u"}"#, "nothing", "not good"),
        (404, "", "nothing", "nothing"),
        (429, "", "nothing", "nothing"),
        (500, r#"{"active":true,"sub":"u"}"#, "nothing", "nothing"),
        (200, &padded(MAX_ANSWER), "good", "good"),
        (200, &padded(MAX_ANSWER + 1), "nothing", "nothing"),
    ] {
        let issuer = Issuer::start(Script::Say(status, body.to_owned())).await;
        let answers = (
            verdict(ask(&issuer.endpoint(introspection())).await),
            verdict(ask(&issuer.endpoint(OpaqueKind::Userinfo)).await),
        );
        assert_eq!(answers, (of_introspection, of_userinfo), "{status} {body:.60}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for question in [introspection(), OpaqueKind::Userinfo] {
        let issuer = Issuer::start(Script::Redirect).await;
        assert_eq!(verdict(ask(&issuer.endpoint(question)).await), "nothing");
        assert_eq!(issuer.asked().len(), 1, "the token went somewhere else");
    }
}

#[tokio::test]
async fn an_issuer_that_is_late_or_away_has_said_nothing() {
    for script in [Script::Nothing, Script::HalfAnAnswer] {
        let issuer = Issuer::start(script).await;
        let hasty = Endpoint { deadline: Duration::from_millis(50), ..issuer.endpoint(introspection()) };
        assert_eq!(ask(&hasty).await, Err(TokenInfoUnavailable("the issuer does not answer in time")));
    }
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let answer = ask(&endpoint(address, introspection())).await;
    assert_eq!(answer, Err(TokenInfoUnavailable("the issuer cannot be reached")));
}

#[tokio::test]
async fn a_question_ends_with_the_request_that_asked_it() {
    let issuer = Issuer::start(Script::Nothing).await;
    let endpoint = issuer.endpoint(introspection());
    tokio::select! {
        _ = ask(&endpoint) => panic!("there is no answer"),
        () = issuer.arrived.notified() => {}
    }
    issuer.left.notified().await;
}
