//! Refusals in the dialect of each path form, and the answers that need no provider.

use http::Method;
use portcullis_bench::gateway::Answer;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::scene::{MASTER, Scene};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    OpenAi,
    AzurePath,
    Anthropic,
    Gemini,
}

const FORMS: [Form; 4] = [Form::OpenAi, Form::AzurePath, Form::Anthropic, Form::Gemini];

/// A call of this form for this model, with a body that names it where the path does not.
fn call(scene: &Scene, form: Form, model: &str) -> RequestBuilder {
    let (path, body) = match form {
        Form::OpenAi => ("/v1/chat/completions".to_owned(), json!({"model": model})),
        Form::AzurePath => (format!("/openai/deployments/{model}/chat/completions?api-version=1"), json!({})),
        Form::Anthropic => ("/v1/messages".to_owned(), json!({"model": model})),
        Form::Gemini => (format!("/v1beta/models/{model}:generateContent"), json!({})),
    };
    scene.gateway.request(Method::POST, &path).json(&body)
}

/// Checks one refusal: `words` are OpenAI's, Anthropic's and Gemini's for it.
fn assert_refused(answer: &Answer, form: Form, status: u16, words: [&str; 3], what: &str) {
    let body = answer.json();
    let what = format!("{form:?}, {what}: {} {body}", answer.status);
    assert_eq!(answer.status, status, "{what}");
    let shape = match form {
        Form::OpenAi | Form::AzurePath => {
            assert_eq!(body["error"]["code"], status.to_string(), "{what}");
            assert!(body["error"].as_object().unwrap().contains_key("param"), "{what}");
            (&body["error"]["type"], words[0])
        }
        Form::Anthropic => {
            assert_eq!(body["type"], "error", "{what}");
            (&body["error"]["type"], words[1])
        }
        Form::Gemini => {
            assert_eq!(body["error"]["code"], status, "{what}");
            (&body["error"]["status"], words[2])
        }
    };
    assert_eq!(shape.0, shape.1, "{what}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}");
    assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{what}");
    assert_eq!(answer.headers["x-should-retry"], "false", "{what}");
    assert_eq!(answer.headers["content-type"], "application/json", "{what}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    assert_eq!(answer.headers["x-request-id"], answer.headers["x-litellm-call-id"], "{what}");
}

#[tokio::test]
async fn each_refusal_in_each_dialect() {
    let scene = Scene::new("  max_request_size_mb: 1\n").await;
    let restricted = scene.gateway.generate_key(&json!({"models": ["m"]})).await;
    let other_routes = scene.gateway.generate_key(&json!({"allowed_routes": ["/embeddings"]})).await;
    let blocked = scene.gateway.generate_key(&json!({})).await;
    let block =
        scene.gateway.admin_request(Method::POST, "/key/block").bearer_auth(MASTER).json(&json!({"key": blocked}));
    assert_eq!(scene.gateway.send(block).await.status, 200);
    let unauthenticated = |word| [word, "authentication_error", "UNAUTHENTICATED"];
    let invalid = ["invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"];
    for form in FORMS {
        let model = "openai";
        for (what, key, asked, status, words) in [
            ("no credential", "", model, 401, unauthenticated("auth_error")),
            ("unknown key", "sk-unknown-0123456789", model, 401, unauthenticated("token_not_found_in_db")),
            ("no key of ours", "hello", model, 401, unauthenticated("token_not_found_in_db")),
            ("blocked key", &blocked, model, 401, unauthenticated("auth_error")),
            (
                "forbidden model",
                &restricted,
                model,
                403,
                ["key_model_access_denied", "permission_error", "PERMISSION_DENIED"],
            ),
            (
                "forbidden model that is not there",
                &restricted,
                "nothing",
                403,
                ["key_model_access_denied", "permission_error", "PERMISSION_DENIED"],
            ),
            ("forbidden route", &other_routes, model, 403, ["auth_error", "permission_error", "PERMISSION_DENIED"]),
            ("unknown model", &scene.key, "nothing", 400, invalid),
        ] {
            let request = call(&scene, form, asked);
            let request = if key.is_empty() { request } else { request.header("x-api-key", key) };
            assert_refused(&scene.gateway.send(request).await, form, status, words, what);
        }
        let authorized = || call(&scene, form, model).header("x-api-key", &scene.key);
        for (what, body) in [
            ("no JSON", "{".to_owned()),
            ("a second base", json!({"model": model, "api_base": "http://x"}).to_string()),
        ] {
            assert_refused(&scene.gateway.send(authorized().body(body)).await, form, 400, invalid, what);
        }
        let large = ["invalid_request_error", "request_too_large", "OUT_OF_RANGE"];
        assert_refused(
            &scene.gateway.send(authorized().body(" ".repeat(1 << 21))).await,
            form,
            413,
            large,
            "a large body",
        );
    }
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_of_any_unknown_key_is_the_same() {
    let scene = Scene::new("").await;
    let mut bodies = Vec::new();
    for key in
        ["sk-unknown-0123456789", "sk-ant-oat01-0123456789", "plain-0123456789", &scene.key[..scene.key.len() - 1]]
    {
        scene.gateway.client_credential(key);
        bodies.push(scene.gateway.send(call(&scene, Form::OpenAi, "m").bearer_auth(key)).await.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_served() {
    let scene = Scene::new("").await;
    let not_found = ["not_found_error", "not_found_error", "NOT_FOUND"];
    let no_method = ["invalid_request_error", "invalid_request_error", "UNIMPLEMENTED"];
    for (form, method, path, status) in [
        (Form::OpenAi, Method::POST, "/v1/nothing", 404),
        (Form::OpenAi, Method::GET, "/nothing", 404),
        (Form::OpenAi, Method::POST, "/v1/chat/completions/", 404),
        (Form::AzurePath, Method::POST, "/engines/m/nothing", 404),
        (Form::Anthropic, Method::POST, "/v1/messages/nothing", 404),
        (Form::Gemini, Method::POST, "/v1beta/nothing", 404),
        (Form::OpenAi, Method::GET, "/v1/chat/completions", 405),
        (Form::OpenAi, Method::DELETE, "/v1/models", 405),
        (Form::AzurePath, Method::GET, "/openai/deployments/m/chat/completions", 405),
        (Form::Anthropic, Method::PUT, "/v1/messages", 405),
        (Form::Gemini, Method::GET, "/v1beta/models/m:generateContent", 405),
        (Form::OpenAi, Method::TRACE, "/v1/models", 405),
    ] {
        for key in [None, Some(&scene.key)] {
            let request = scene.gateway.request(method.clone(), path);
            let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
            let answer = scene.gateway.send(request).await;
            assert_refused(&answer, form, status, if status == 404 { not_found } else { no_method }, path);
            assert_eq!(answer.headers.contains_key("allow"), status == 405, "{path}");
        }
    }
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_browser_may_ask_without_a_credential() {
    let scene = Scene::new("").await;
    for path in ["/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent", "/v1/models"] {
        let asked = scene.gateway.request(Method::OPTIONS, path).header("origin", "https://app.example");
        let asked = asked
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key, x-a");
        let answer = scene.gateway.send(asked).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-headers"], "x-api-key, x-a");
        assert!(answer.headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    }
    let refused = scene.gateway.send(call(&scene, Form::OpenAi, "m").header("origin", "https://app.example")).await;
    assert_eq!((refused.status, &refused.headers["access-control-allow-origin"]), (401, &"*".parse().unwrap()));
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

fn names(list: &Value, member: &str, name: &str) -> Vec<String> {
    list[member].as_array().unwrap().iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn models_are_listed_in_the_form_of_who_asks_and_as_the_key_may_use_them() {
    let scene = Scene::new("").await;
    let restricted = scene.gateway.generate_key(&json!({"models": ["gemini", "m", "nothing"]})).await;
    let none = scene.gateway.generate_key(&json!({"models": ["no-default-models"]})).await;
    for (key, visible) in [
        (MASTER, &["m", "openai", "azure", "anthropic", "gemini"][..]),
        (&scene.key, &["m", "openai", "azure", "anthropic", "gemini"]),
        (&restricted, &["m", "gemini"]),
        (&none, &[]),
    ] {
        let get = |path: &str| scene.gateway.request(Method::GET, path);
        let openai = scene.gateway.send(get("/v1/models").bearer_auth(key)).await.json();
        assert_eq!(
            (&openai["object"], names(&openai, "data", "id")),
            (&json!("list"), visible.iter().map(|name| (*name).to_owned()).collect())
        );
        let anthropic = get("/v1/models").header("x-api-key", key).header("anthropic-version", "2023-06-01");
        let anthropic = scene.gateway.send(anthropic).await.json();
        assert_eq!(
            (&anthropic["has_more"], names(&anthropic, "data", "id")),
            (&json!(false), names(&openai, "data", "id"))
        );
        for gemini in [
            get("/v1beta/models").header("x-goog-api-key", key),
            get("/v1/models").header("x-goog-api-key", key),
            get(&format!("/v1beta/models?key={key}")),
        ] {
            let gemini = scene.gateway.send(gemini).await.json();
            let prefixed: Vec<String> = visible.iter().map(|name| format!("models/{name}")).collect();
            assert_eq!(names(&gemini, "models", "name"), prefixed);
        }
        for name in ["m", "openai", "nothing"] {
            let one = scene.gateway.send(get(&format!("/v1/models/{name}")).bearer_auth(key)).await;
            assert_eq!(one.status, if visible.contains(&name) { 200 } else { 404 }, "{name}");
        }
    }
    let stranger = scene.gateway.send(scene.gateway.request(Method::GET, "/v1/models")).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

/// Whoever they are: nothing but probes is served to an address that is not listed.
#[tokio::test]
async fn only_listed_addresses_are_served() {
    let provider = portcullis_bench::provider::Provider::start().unwrap();
    let rest = "  allowed_ips: [192.0.2.0/24, 2001:db8::7]\n  trusted_proxy_ranges: [127.0.0.0/8]\n";
    let gateway = crate::scene::setup(&crate::scene::every_dialect(&provider), rest).start().await;
    gateway.watch(&provider);
    for (from, status) in [(None, 403), (Some("192.0.3.1"), 403), (Some("192.0.2.77"), 200), (Some("2001:db8::7"), 200)]
    {
        for (method, path) in
            [(Method::POST, "/v1/chat/completions"), (Method::GET, "/v1/models"), (Method::GET, "/key/list")]
        {
            let request = gateway.request(method.clone(), path).bearer_auth(MASTER);
            let request = if method == Method::POST { request.json(&json!({"model": "m"})) } else { request };
            let request = from.into_iter().fold(request, |request, from| request.header("x-forwarded-for", from));
            let answer = gateway.send(request).await;
            assert_eq!(answer.status, status, "{from:?} {path}: {}", answer.json());
        }
    }
    assert_eq!(provider.requests().len(), 2);
    assert_eq!(gateway.send(gateway.request(Method::GET, "/health/liveliness")).await.status, 200);
    gateway.stop().await;
}
