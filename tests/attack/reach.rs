//! What a key for one model cannot reach: every way that was found to name one model to the gateway and another one to the
//! provider. The provider hears of none of them; the honest spellings beside them pass.

use http::Method;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::raw::RawProvider;
use serde_json::json;

use crate::support;

const MODELS: [(&str, &str); 6] = [
    ("allowed", "openai/allowed"),
    ("secret", "openai/secret"),
    ("on-azure", "azure/on-azure"),
    ("on-anthropic", "anthropic/on-anthropic"),
    ("on-gemini", "gemini/on-gemini"),
    ("wild-*", "azure/wild-*"),
];

fn config(provider: &str) -> String {
    let deployment = |(name, model): &(&str, &str)| {
        let lent = *name != "secret";
        format!(
            "  - model_name: '{name}'\n    litellm_params:\n      model: '{model}'\n      api_base: {provider}\n      api_key: \
             sk-provider-0123456789\n      use_in_pass_through: {lent}\n"
        )
    };
    let models: String = MODELS.iter().map(deployment).collect();
    format!("model_list:\n{models}general_settings:\n  master_key: sk-master-0123456789abcdef\n")
}

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data; boundary=B";

/// Path, content type, body.
type Call<'a> = (&'a str, &'a str, &'a str);

const BEYOND: &[Call<'_>] = &[
    ("/v1/chat/completions", JSON, r#"{"model":"secret"}"#),
    ("/v1/chat/completions", JSON, r#"{"model":"allowed","models":["secret"]}"#),
    ("/v1/chat/completions", JSON, r#"{"model":"allowed","models":["allowed"],"fallbacks":["secret"]}"#),
    ("/v1/chat/completions", JSON, r#"{"model":"allowed","fallbacks":[{"model":"secret"}]}"#),
    ("/v1/chat/completions", JSON, r#"{"model":"allowed","Model":"secret"}"#),
    ("/engines/secret/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/openai/deployments/secret/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/v1beta/models/secret:generateContent", JSON, r#"{"model":"allowed"}"#),
    ("/v1beta/models/allowed:batchEmbedContents", JSON, r#"{"requests":[{"model":"models/secret"}]}"#),
    // The pattern that is granted stands for one piece of a path.
    ("/v1/chat/completions", JSON, r#"{"model":"wild-a/../secret"}"#),
    // Behind a vendor's prefix.
    ("/openai/v1/chat/completions", JSON, r#"{"model":"secret"}"#),
    ("/openai/v1/chat/completions", "text/plain", r#"{"model":"allowed"}"#),
    ("/openai/v1/chat/completions/", JSON, r#"{"model":"allowed"}"#),
    ("/openai/v1/engines/secret/completions", JSON, r#"{"model":"allowed"}"#),
    ("/openai/v1/engines/allowed/completions", JSON, r#"{"model":"secret"}"#),
    ("/openai/v1/engines/allowed/engines/secret/completions", JSON, r#"{"model":"allowed"}"#),
    ("/openai/v1/batches", JSON, r#"{"model":"allowed","input_file_id":"file-1"}"#),
    ("/openai/v1/fine_tuning/jobs", JSON, r#"{"model":"allowed"}"#),
    ("/openai/v1/files", FORM, "--B--"),
    ("/azure/openai/deployments/secret/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/azure/openai/Deployments/secret/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/azure/openai/DEPLOYMENTS/secret/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/azure/openai/deployments/allowed/deployments/secret/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/anthropic/v1/messages", JSON, r#"{"model":"secret"}"#),
    ("/anthropic/v1/messages/batches", JSON, r#"{"model":"allowed","requests":[{"params":{"model":"secret"}}]}"#),
    ("/gemini/v1beta/models/secret:generateContent", JSON, r#"{"model":"allowed"}"#),
    ("/gemini/v1beta/models/allowed:generateContent", JSON, r#"{"model":"models/secret"}"#),
    ("/gemini/v1beta/tunedModels/allowed:generateContent", JSON, r#"{"model":"allowed"}"#),
    ("/gemini/v1beta/tunedmodels/secret:generateContent", JSON, r#"{"model":"allowed"}"#),
    ("/gemini/v1beta/models/allowed/models/secret:generateContent", JSON, "{}"),
    ("/gemini/v1beta/cachedContents", JSON, r#"{"model":"allowed"}"#),
];

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const ALLOWED: &str = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nallowed\r\n";

/// Behind the part that names the allowed model: places where some parser finds another one.
const HIDDEN: &[&str] = &[
    "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsecret\r\n--B--",
    "--B\r\nContent-Disposition: form-data; name=\"x\"; name*=utf-8''model\r\n\r\nsecret\r\n--B--",
    "--B\r\nContent-Disposition: form-data; NAME=\"model\"\r\n\r\nsecret\r\n--B--",
    "--B\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nsecret\r\n--B--",
    "--B\r\nContent-Disposition: form-data; name=\"mod\\el\"\r\n\r\nsecret\r\n--B--",
    "--B--\r\n--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsecret\r\n--B--",
    "--B\r\n--B",
];

const HONEST: &[Call<'_>] = &[
    ("/v1/chat/completions", JSON, r#"{"model":"allowed","models":["allowed"]}"#),
    ("/openai/v1/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/azure/openai/deployments/allowed/chat/completions", JSON, r#"{"model":"whatever"}"#),
    ("/azure/openai/v1/chat/completions", JSON, r#"{"model":"allowed"}"#),
    ("/anthropic/v1/messages", JSON, r#"{"model":"allowed"}"#),
    ("/gemini/v1beta/models/allowed:generateContent", JSON, "{}"),
    ("/v1/chat/completions", JSON, r#"{"model":"wild-a?b=c#d e"}"#),
];

const GETS: &[&str] = &[
    "/v1/realtime?model=secret",
    "/v1/realtime?model=allowed&%6dodel=secret",
    "/v1/realtime?MODEL=secret",
    "/v1/realtime?deployment=secret",
    "/v1/realtime?model=allowed&Deployment=secret",
    "/v1/realtime",
    "/openai/v1/models/secret",
    "/openai/v1/files",
    "/azure/openai/realtime?deployment=allowed",
    "/gemini/v1beta/models",
];

async fn call(gateway: &Gateway, key: &str, (path, kind, body): Call<'_>) -> u16 {
    let request = gateway.request(Method::POST, path).header("x-litellm-api-key", key).header("content-type", kind);
    gateway.send(request.body(body.to_owned())).await.status
}

fn sent(provider: &RawProvider) -> String {
    let bytes: Vec<u8> = provider.captures().into_iter().flat_map(|capture| capture.bytes).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_one_model_reaches_no_other() {
    let provider = RawProvider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let key = gateway.generate_key(&json!({"models": ["allowed", "wild-*"]})).await;
    let hidden: Vec<String> = HIDDEN.iter().map(|part| format!("{ALLOWED}{part}")).collect();
    let two_boundaries = format!("{FORM}; boundary=C");
    let closed = format!("{ALLOWED}--B--");
    let forms = hidden.iter().map(|body| (TRANSCRIPTIONS, FORM, body.as_str()));
    for beyond in BEYOND.iter().copied().chain(forms).chain([(TRANSCRIPTIONS, &*two_boundaries, &*closed)]) {
        let status = call(&gateway, &key, beyond).await;
        assert!(matches!(status, 400 | 403 | 404), "{beyond:?}: {status}");
        assert_eq!(sent(&provider), "", "{beyond:?} reached the provider");
    }
    for path in GETS {
        let status = gateway.send(gateway.request(Method::GET, path).header("x-api-key", &key)).await.status;
        assert!(matches!(status, 400 | 403 | 404), "{path}: {status}");
    }
    assert_eq!(sent(&provider), "", "a GET reached the provider");
    for honest in HONEST.iter().copied().chain([(TRANSCRIPTIONS, FORM, &*closed)]) {
        assert_eq!(call(&gateway, &key, honest).await, 200, "{honest:?}");
    }
    // What curl calls a form was read as JSON, and is sent on as JSON, so that nobody reads the other model in it.
    let as_form =
        ("/v1/chat/completions", "application/x-www-form-urlencoded", r#"{"model":"allowed","x":"&model=secret&"}"#);
    assert_eq!(call(&gateway, &key, as_form).await, 200);
    let sent = sent(&provider);
    assert!(!sent.contains("x-www-form-urlencoded"), "{sent}");
    assert!(sent.contains("POST /openai/deployments/wild-a%3Fb%3Dc%23d%20e/chat/completions?api-version="), "{sent}");
    gateway.stop().await;
}

/// A parameter that an upstream reads as `model` is not left beside ours, however it is spelt.
#[tokio::test]
async fn a_websockets_query_names_one_model() {
    let provider = RawProvider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let key = gateway.generate_key(&json!({})).await;
    for query in ["%6dodel=wild-x", "MODEL=wild-x", "Deployment=wild-x"] {
        let request = gateway.request(Method::GET, &format!("/v1/realtime?a=b&{query}")).header("x-api-key", &key);
        gateway.send(request).await;
    }
    let sent = sent(&provider);
    let lines: Vec<&str> = sent.lines().filter(|line| line.starts_with("GET ")).collect();
    assert_eq!(lines.len(), 3, "{sent}");
    for line in lines {
        assert!(line.starts_with("GET /openai/realtime?a=b&api-version="), "{line}");
        assert!(line.ends_with("&deployment=wild-x HTTP/1.1") && line.matches("wild-x").count() == 1, "{line}");
    }
    gateway.stop().await;
}

/// A group of routes opens what it names: not the vendors' whole APIs beside it.
#[tokio::test]
async fn a_key_for_some_routes_reaches_no_others() {
    let provider = RawProvider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    for (group, open, shut) in [
        ("openai_routes", "/v1/chat/completions", &["/openai/v1/files", "/anthropic/v1/messages"][..]),
        ("/v1/*", "/v1/chat/completions", &["/openai/v1/files", "/azure/openai/deployments/allowed/chat/completions"]),
        ("anthropic_routes", "/v1/messages", &["/v1/chat/completions", "/anthropic/v1/messages"]),
    ] {
        let key = gateway.generate_key(&json!({"allowed_routes": [group]})).await;
        for path in shut {
            assert_eq!(call(&gateway, &key, (path, JSON, r#"{"model":"allowed"}"#)).await, 403, "{group} {path}");
        }
        let model = if group == "anthropic_routes" { "on-anthropic" } else { "allowed" };
        assert_eq!(call(&gateway, &key, (open, JSON, &format!("{{\"model\":\"{model}\"}}"))).await, 200, "{group}");
    }
    gateway.stop().await;
}
