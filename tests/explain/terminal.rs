//! The same from a terminal: the program itself, its output, its exit status.

use std::process::{Output, Stdio};

use portcullis_bench::credentials::Credentials;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::scene::{CHAT, MASTER, Scene};

pub(crate) async fn portcullis(scene: &Scene, arguments: &[&str], input: &str) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("explain").args(arguments).env_clear();
    command.env("PORTCULLIS_URL", scene.gateway.url()).env("PORTCULLIS_MASTER_KEY", MASTER);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn it_prints_the_steps_and_the_rule_and_no_secret() {
    let scene = Scene::new("", &[]).await;
    let key = scene.gateway.generate_key(&json!({"models": ["m"], "key_alias": "for-the-team"})).await;
    let mut secrets = Credentials::default();
    [MASTER, &key].iter().for_each(|secret| secrets.client(secret));
    let header = format!("Authorization: Bearer {key}");
    for (arguments, input, status, last) in [
        (&["-H", &header, "-d", r#"{"model":"m"}"#, CHAT][..], "", 0, "allowed"),
        (&["-H", "x-api-key: -", "-d", r#"{"model":"m"}"#, CHAT], &*key, 0, "allowed"),
        (
            &["-H", &header, "-d", r#"{"model":"open"}"#, CHAT],
            "",
            1,
            "refused with 403 (model_forbidden) by policy: key: ",
        ),
        (&["--about", "-", "--model", "open"], &*key, 1, "refused with 403 (model_forbidden) by policy: key: "),
        (&["--about", &key], "", 0, "allowed"),
    ] {
        let output = portcullis(&scene, arguments, input).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().last().unwrap_or_default();
        assert!(
            output.status.code() == Some(status) && line.starts_with(last),
            "{arguments:?}: {text} {:?}",
            output.stderr
        );
        assert!(text.contains("for-the-team"), "{text}");
        assert_eq!(secrets.search("the terminal", text.as_bytes()), []);
        assert_eq!(secrets.search("the terminal's errors", &output.stderr), []);
    }
    let escape = portcullis(&scene, &["-H", &header, "-d", "{\"model\":\"\\u001b[2J\"}", CHAT], "").await;
    assert!(!escape.stdout.contains(&0x1b), "a terminal would obey it");
    let output = portcullis(&scene, &["--json", "--about", &key], "").await;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["outcome"], "allowed");

    for arguments in [&[][..], &["--about", "x", CHAT], &["--model", "m"], &["-H", "no colon", CHAT]] {
        assert!(!portcullis(&scene, arguments, "").await.status.success(), "{arguments:?}");
    }
    scene.gateway.stop().await;
}
