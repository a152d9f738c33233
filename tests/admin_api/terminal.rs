//! `portcullis keys` against the API over a real socket.

use std::io::Cursor;
use std::process::ExitCode;

use clap::Parser;
use portcullis::commands::keys::{KeysCommand, carry_out};

use crate::node::{MASTER, Node};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    command: KeysCommand,
}

async fn keys(url: &str, arguments: &[&str], input: &str) -> (anyhow::Result<ExitCode>, String) {
    let fixed = ["keys", "--url", url, "--key", MASTER];
    let line = Line::try_parse_from(fixed.into_iter().chain(arguments.iter().copied())).unwrap();
    let mut out = Vec::new();
    let result = carry_out(line.command, &mut Cursor::new(input.to_owned()), &mut out).await;
    (result, String::from_utf8(out).unwrap())
}

/// The value beside a label.
fn value<'a>(out: &'a str, label: &str) -> &'a str {
    let line = out.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in {out}")).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_life_from_the_terminal() {
    let node = Node::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = node.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let (result, out) = keys(&url, &["generate", "--alias", "ci", "--models", "a,b", "--duration", "1d"], "").await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    let key = value(&out, "key ").to_owned();
    assert_eq!(node.works(&key).await, 200);

    let (_, out) = keys(&url, &["list"], "").await;
    assert!(out.contains("ci ") && out.contains("a,b") && out.contains("page 1 of 1, 1 keys in all"), "{out}");
    let (_, out) = keys(&url, &["info", "-"], &key).await;
    assert_eq!((value(&out, "alias"), value(&out, "status")), ("ci", "active"));

    keys(&url, &["block", &key], "").await.0.unwrap();
    assert_eq!(node.works(&key).await, 401);
    keys(&url, &["unblock", &key], "").await.0.unwrap();
    let (_, out) = keys(&url, &["rotate", &key], "").await;
    let new = value(&out, "key ").to_owned();
    assert_eq!((node.works(&key).await.as_u16(), node.works(&new).await.as_u16()), (401, 200));

    let (result, out) = keys(&url, &["delete", &new, "sk-there-is-no-such-key"], "").await;
    assert_eq!((result.unwrap(), out.as_str()), (ExitCode::FAILURE, "1 deleted, 1 unknown\n"));
    assert_eq!(node.works(&new).await, 401);
    let (result, _) = keys(&url, &["delete", &new], "").await;
    assert!(result.unwrap_err().to_string().ends_with("(HTTP 404)"));
    server.abort();
}
