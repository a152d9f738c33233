//! Where a caller's address may lead: the outbound guard, seen from outside. Nothing here is ever dialled but the loopback
//! interface; what would be dialled for names of the internet is asked in `portcullis_filters::route` with a resolver of
//! the test's own.

use portcullis_bench::provider::Script;
use serde_json::json;

use crate::scene::{LISTED, NEAR, OWN, Scene, outcome};

fn members(base: &str) -> String {
    format!(r#""api_key":"{OWN}","api_base":"{base}""#)
}

#[tokio::test]
async fn an_inner_address_is_refused_in_every_spelling_and_with_one_answer() {
    let scene = Scene::new(&[LISTED], "general_settings:\n  master_key: MASTER\n").await;
    let port = scene.chosen.addr().port();
    let mut answers = Vec::new();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "no-such-host.invalid",
    ] {
        for scheme in ["http", "https"] {
            let answer = scene.chat(&members(&format!("{scheme}://{host}:{port}/v1"))).await;
            assert_eq!(outcome(&answer), (400, json!("api_base")), "{scheme} {host} {}", answer.json());
            assert_eq!(scene.asked(), None, "{host}");
            answers.push(answer.json()["error"].clone());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "a caller could ask for the names of an inner network: {answers:?}");
    assert_eq!(scene.chosen.connections(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn an_exception_opens_what_it_says() {
    let with = |allow: &str| NEAR.replace("127.0.0.0/8", allow);
    for (allow, host, status) in [
        ("127.0.0.1", "127.0.0.1", 200),
        ("127.0.0.1", "localhost", 200),
        ("localhost", "localhost", 200),
        ("localhost", "127.0.0.1", 400),
        ("'localhost:1'", "localhost", 400),
        ("10.0.0.0/8", "127.0.0.1", 400),
        ("'*.localhost'", "localhost", 400),
    ] {
        let scene = Scene::new(&[LISTED], &with(allow)).await;
        let port = scene.chosen.addr().port();
        let answer = scene.chat(&members(&format!("http://{host}:{port}/v1"))).await;
        assert_eq!(answer.status, status, "{allow} {host}");
        assert_eq!(scene.asked(), (status == 200).then(|| format!("chosen: Bearer {OWN}")), "{allow} {host}");
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn a_redirect_is_the_clients_to_follow() {
    let scene = Scene::new(&[LISTED], NEAR).await;
    let elsewhere = format!("{}/v1/elsewhere", scene.operators.url());
    scene.chosen.script(Script::whole(307, "{}").header("location", &elsewhere));
    let body = format!(r#"{{"model":"m",{}}}"#, members(&format!("{}/v1", scene.chosen.url())));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = client.post(format!("{}/v1/chat/completions", scene.gateway.url())).bearer_auth(&scene.key);
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(scene.operators.requests().len(), 0);
    scene.gateway.stop().await;
}
