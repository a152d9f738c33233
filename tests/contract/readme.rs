//! What the documents tell people to type works: every `curl` line of the README, against a gateway without any
//! configuration, with the master key that it prints at its first start.

use std::path::{Path, PathBuf};

use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;
use serde_json::Value;

use crate::shell::{Typed, curl, curl_lines};
use crate::support::gateway;

const HEADERS: [&str; 6] =
    ["x-litellm-api-key", "authorization", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];

#[tokio::test(flavor = "multi_thread")]
async fn every_curl_line_of_the_documents_works() {
    let gateway = gateway("").start().await;
    let key = printed_key(&gateway);
    let mut commands = curl_lines(&gateway.output());
    assert_eq!(commands.len(), 1, "the first call stands on the screen");
    for document in documents() {
        commands.extend(curl_lines(&std::fs::read_to_string(document).unwrap()));
    }
    for command in &commands {
        let typed = curl(&gateway, command, &[("MASTER_KEY", &key)]).await;
        answers(command, &typed);
    }
    let shown = commands.join("\n").to_lowercase();
    for header in HEADERS {
        assert!(shown.contains(&format!("{header}: ")), "no document shows {header}");
    }
    assert!(shown.contains("\"stream\": true"), "no document shows a stream");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_works_in_a_configured_header_too() {
    let gateway = gateway("portcullis:\n  additional_key_headers: [X-Company-Key]\n").start().await;
    let key = printed_key(&gateway);
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let command = curl_lines(&readme)[0].replace("Authorization: Bearer ", "X-Company-Key: ");
    assert!(command.contains("X-Company-Key"), "{command}");
    answers(&command, &curl(&gateway, &command, &[("MASTER_KEY", &key)]).await);
    gateway.stop().await;
}

/// `curl -d` without a content type calls its body a form; a provider that takes forms would read another model in it.
#[tokio::test(flavor = "multi_thread")]
async fn what_curl_calls_a_form_reaches_the_provider_as_json() {
    let provider = Provider::start().unwrap();
    let config = format!(
        "general_settings: {{master_key: sk-0a1b2c3d4e5f6789}}\n\
         model_list:\n\
         - model_name: mock\n  \
           litellm_params: {{model: openai/mock, api_base: '{}/v1', api_key: sk-the-operators-own}}\n",
        provider.url()
    );
    let gateway = gateway(&config).start().await;
    gateway.watch(&provider);
    let command = "curl http://127.0.0.1:4000/v1/chat/completions -H \"Authorization: Bearer $MASTER_KEY\" \
        -d '{\"model\": \"mock\", \"user\": \"&model=other&\", \"messages\": []}'";
    assert_eq!(curl(&gateway, command, &[("MASTER_KEY", "sk-0a1b2c3d4e5f6789")]).await.status, 200);
    let seen = provider.next_request().await;
    assert_eq!(seen.header_values("content-type"), ["application/json"]);
    assert_eq!(seen.json()["user"], "&model=other&");
    gateway.stop().await;
}

fn answers(command: &str, typed: &Typed) {
    assert_eq!(typed.status, 200, "{command}\n{typed:?}");
    if command.contains("\"stream\": true") {
        let events: Vec<_> = typed.output.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert!(events.len() > 2 && events.last() == Some(&"[DONE]"), "{command}\n{typed:?}");
    } else if !command.contains("/metrics") {
        assert_ne!(typed.json(), Value::Null, "{command}");
    }
}

/// The key that is shown once; from here on it is searched for like every credential.
fn printed_key(gateway: &Gateway) -> String {
    let output = gateway.output();
    let key = output.lines().map(str::trim).find(|line| line.starts_with("sk-"));
    key.unwrap_or_else(|| panic!("no key in:\n{output}")).to_owned()
}

/// The README and the pages for tasks that need nothing but a gateway.
fn documents() -> Vec<PathBuf> {
    ["README.md", "docs/migrate-from-litellm.md"].iter().map(|name| root().join(name)).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
