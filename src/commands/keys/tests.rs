//! The command line against a proxy that records what it is asked and answers what the test says.

use std::io::Cursor;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::Parser;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{KeysCommand, carry_out};
use crate::commands::api::in_the_clear;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    command: KeysCommand,
}

#[derive(Clone, Default)]
struct Recorder {
    /// What to answer, first one first; the last is repeated.
    answers: Vec<(u16, Value)>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    line: String,
    authorization: String,
    idempotency_key: Option<String>,
    body: Value,
}

/// Stands for a connection that ends before its answer does.
const LOST: u16 = 0;

async fn record(State(recorder): State<Recorder>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = Seen {
        line: format!("{} {}", parts.method, parts.uri),
        authorization: header("authorization").unwrap_or_default(),
        idempotency_key: header("idempotency-key"),
        body: serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default(),
    };
    let mut all = recorder.seen.lock().unwrap();
    let (status, answer) = recorder.answers[all.len().min(recorder.answers.len() - 1)].clone();
    all.push(seen);
    if status == LOST {
        let cut = futures_util::stream::once(async { Err::<String, _>(std::io::Error::other("cut off")) });
        return axum::body::Body::from_stream(cut).into_response();
    }
    (http::StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
}

struct Outcome {
    result: anyhow::Result<ExitCode>,
    out: String,
    seen: Vec<Seen>,
}

async fn run(arguments: &[&str], input: &str, answers: Vec<(u16, Value)>) -> Outcome {
    let recorder = Recorder { answers, ..Recorder::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(record).with_state(recorder.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let fixed = ["keys", "--url", &url, "--key", "sk-master"];
    let line = Line::try_parse_from(fixed.into_iter().chain(arguments.iter().copied())).unwrap();
    let mut out = Vec::new();
    let result = carry_out(line.command, &mut Cursor::new(input), &mut out).await;
    server.abort();
    let seen = recorder.seen.lock().unwrap().clone();
    Outcome { result, out: String::from_utf8(out).unwrap(), seen }
}

#[tokio::test]
async fn generate_sends_what_was_asked_for_and_shows_the_key() {
    let answer = json!({"key": "sk-new", "token": "abc", "models": ["a", "b"], "key_alias": "x\u{1b}[2J"});
    let line =
        ["generate", "--alias", "x", "--models", "a,b", "--duration", "30d", "--rpm", "5", "--set", "tags=[\"t\"]"];
    let outcome = run(&line, "", vec![(200, answer)]).await;
    assert_eq!(outcome.result.unwrap(), ExitCode::SUCCESS);
    let [seen] = &outcome.seen[..] else { panic!("{:?}", outcome.seen) };
    assert_eq!((seen.line.as_str(), seen.authorization.as_str()), ("POST /key/generate", "Bearer sk-master"));
    let asked = json!({"key_alias": "x", "models": ["a", "b"], "duration": "30d", "rpm_limit": 5, "tags": ["t"]});
    assert_eq!(seen.body, asked);
    let expected = "key     sk-new\nhash    abc\nalias   x?[2J\nmodels  a,b\n\n\
        The key is shown this once. Keep it where secrets are kept.\n";
    assert_eq!(outcome.out, expected);
}

#[tokio::test]
async fn list_is_a_table() {
    let key = |alias: &str, models: Value| {
        json!({"key_alias": alias, "key_name": "sk-...abcd", "status": "active", "expires": null, "spend": 1.5,
            "models": models, "token": "0f"})
    };
    let page = json!({"keys": [key("long alias", json!([])), key("b", json!(["m"]))],
        "current_page": 2, "total_pages": 3, "total_count": 5});
    let outcome = run(&["list", "--team", "t 1", "--page", "2", "--size", "2"], "", vec![(200, page)]).await;
    outcome.result.unwrap();
    assert_eq!(outcome.seen[0].line, "GET /key/list?team_id=t+1&page=2&size=2&return_full_object=true");
    let expected = "\
ALIAS       KEY         STATUS  EXPIRES  SPEND  MODELS  HASH
long alias  sk-...abcd  active  -        1.5    all     0f
b           sk-...abcd  active  -        1.5    m       0f
page 2 of 3, 5 keys in all
";
    assert_eq!(outcome.out, expected);
}

#[tokio::test]
async fn a_key_can_come_from_standard_input_and_stays_out_of_the_query() {
    let answer = json!({"key": ["sk-secret"], "info": [{"key_name": "sk-...cret", "status": "revoked"}]});
    let outcome = run(&["info", "-"], "sk-secret\n", vec![(200, answer)]).await;
    outcome.result.unwrap();
    assert_eq!(
        (outcome.seen[0].line.as_str(), &outcome.seen[0].body),
        ("POST /v2/key/info", &json!({"keys": ["sk-secret"]}))
    );
    assert_eq!(outcome.out, "name    sk-...cret\nstatus  revoked\n");
    assert!(run(&["info", "-"], "", vec![(200, json!({}))]).await.result.is_err());
}

#[tokio::test]
async fn block_unblock_and_delete_name_the_key_in_the_body() {
    for (action, path) in [("block", "POST /key/block"), ("unblock", "POST /key/unblock")] {
        let outcome = run(&[action, "0f"], "", vec![(200, json!({"blocked": true}))]).await;
        assert_eq!((outcome.seen[0].line.as_str(), &outcome.seen[0].body), (path, &json!({"key": "0f"})));
        assert_eq!(outcome.out, "blocked  true\n");
    }
    let report = json!({"deleted_keys": ["sk-a"], "unknown_keys": ["sk-b"]});
    let outcome = run(&["delete", "sk-a", "sk-b"], "", vec![(200, report)]).await;
    assert_eq!(outcome.seen[0].body, json!({"keys": ["sk-a", "sk-b"]}));
    assert_eq!(outcome.out, "1 deleted, 1 unknown\n");
    assert_eq!(outcome.result.unwrap(), ExitCode::FAILURE, "a script must see that not all were deleted");
}

#[tokio::test]
async fn rotate_repeats_a_request_whose_answer_was_lost_under_one_idempotency_key() {
    let answers = vec![(LOST, json!(null)), (LOST, json!(null)), (200, json!({"key": "sk-new"}))];
    let outcome = run(&["rotate", "0f", "--grace-period", "1h"], "", answers).await;
    assert!(outcome.out.starts_with("key  sk-new\n"), "{}", outcome.out);
    let [first, second, third] = &outcome.seen[..] else { panic!("{:?}", outcome.seen) };
    assert_eq!(
        (first.line.as_str(), &first.body),
        ("POST /key/regenerate", &json!({"key": "0f", "grace_period": "1h"}))
    );
    assert_eq!(first.idempotency_key.as_ref().map(String::len), Some(32));
    assert!(first.idempotency_key == second.idempotency_key && second.idempotency_key == third.idempotency_key);
    let hopeless = run(&["rotate", "0f"], "", vec![(LOST, json!(null))]).await;
    assert_eq!((hopeless.result.is_err(), hopeless.seen.len()), (true, 3));
    assert_ne!(hopeless.seen[0].idempotency_key, first.idempotency_key);
    let generate = run(&["generate"], "", vec![(LOST, json!(null))]).await;
    assert_eq!(generate.seen.len(), 1, "making a key twice would leave one that nobody knows of");
}

#[tokio::test]
async fn json_prints_the_answer_as_it_came() {
    let answer = json!({"blocked": true, "anything": [1]});
    let outcome = run(&["block", "0f", "--json"], "", vec![(200, answer.clone())]).await;
    assert_eq!(serde_json::from_str::<Value>(&outcome.out).unwrap(), answer);
}

#[tokio::test]
async fn refusals_are_one_sentence_whatever_their_shape() {
    let cases = [
        (403, json!({"error": {"message": "Only proxy admin"}}), "Only proxy admin (HTTP 403)"),
        (404, json!({"detail": "Not Found"}), "Not Found (HTTP 404)"),
        (422, json!({"detail": [{"loc": ["body", "models"], "msg": "bad"}]}), "body.models: bad (HTTP 422)"),
        (500, json!(null), "refused (HTTP 500)"),
    ];
    for (status, body, expected) in cases {
        let outcome = run(&["block", "sk-secret"], "", vec![(status, body)]).await;
        assert_eq!(outcome.result.unwrap_err().to_string(), expected);
        assert_eq!(outcome.out, "");
    }
}

#[tokio::test]
async fn an_absent_proxy_is_named_without_the_key() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}");
    let line = Line::try_parse_from(["keys", "--url", &url, "--key", "sk-master", "rotate", "sk-secret"]).unwrap();
    let error = carry_out(line.command, &mut Cursor::new(""), &mut Vec::new()).await.unwrap_err();
    let text = format!("{error:#} {error:?}");
    assert!(text.contains(&format!("no answer from {url}")), "{text}");
    assert!(!text.contains("sk-master") && !text.contains("sk-secret"), "{text}");
}

#[test]
fn secrets_are_not_printed_with_the_arguments() {
    let line = Line::try_parse_from(["keys", "--key", "sk-master", "block", "sk-secret"]).unwrap();
    let text = format!("{:?}", line.command);
    assert!(!text.contains("sk-master") && !text.contains("sk-secret"), "{text}");
}

#[test]
fn only_the_own_machine_is_spoken_to_in_the_clear_without_a_warning() {
    let warned = |url: &str| in_the_clear(&url.parse().unwrap());
    for url in ["http://127.0.0.1:4000", "http://localhost:4001", "http://[::1]", "https://gateway.example.com"] {
        assert!(!warned(url), "{url}");
    }
    for url in ["http://gateway.example.com", "http://10.0.0.1:4000", "http://localhost.example.com"] {
        assert!(warned(url), "{url}");
    }
}
