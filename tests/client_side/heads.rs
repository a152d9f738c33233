//! A provider's credential that the caller sends in the head, beside a key of ours: forwarded where the configuration
//! says so, and never ours.

use http::Method;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;
use serde_json::json;

use crate::scene::{MASTER, OPERATORS};

const TOKEN: &str = "sk-ant-oat01-0123456789abcdef";
const KEY: &str = "sk-ant-api03-0123456789abcdef0123456789abcdef0123456789";

async fn gateway(provider: &Provider, settings: &str) -> Gateway {
    let config = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: anthropic/claude, api_base: '{}', api_key: \
         {OPERATORS}}}\ngeneral_settings:\n  master_key: {MASTER}\n{settings}",
        provider.url()
    );
    let gateway = crate::support::gateway(&config).start().await;
    gateway.watch(provider);
    gateway.provider_credential(TOKEN);
    gateway.provider_credential(KEY);
    gateway
}

/// `Authorization` and `x-api-key` as the provider gets them.
async fn seen(
    gateway: &Gateway,
    provider: &Provider,
    fields: &[(&str, &str)],
) -> (u16, Option<String>, Option<String>) {
    let mut request = gateway.request(Method::POST, "/v1/messages").header("anthropic-version", "2023-06-01");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = gateway.send(request.body(r#"{"model":"claude","max_tokens":1,"messages":[]}"#)).await;
    let requests = provider.requests();
    provider.clear();
    let field = |name: &str| requests.first().and_then(|request| request.header(name).map(str::to_owned));
    (answer.status, field("authorization"), field("x-api-key"))
}

#[tokio::test]
async fn a_subscriptions_token_goes_on_where_the_configuration_says_so() {
    let (bearer, operators) = (format!("Bearer {TOKEN}"), || Some(OPERATORS.to_owned()));
    let group = "litellm_settings:\n  model_group_settings:\n    forward_client_headers_to_llm_api: [claude]\n";
    let other = group.replace("[claude]", "[gpt-*]");
    for (settings, tokens, keys) in [
        ("", false, false),
        (&*other, false, false),
        (group, true, false),
        ("  forward_client_headers_to_llm_api: true\n", true, false),
        ("  forward_llm_provider_auth_headers: true\n", true, true),
        ("litellm_settings:\n  forward_llm_provider_auth_headers: true\n", true, true),
    ] {
        let provider = Provider::start().unwrap();
        let gateway = gateway(&provider, settings).await;
        let key = gateway.generate_key(&json!({})).await;
        let token = [("x-litellm-api-key", key.as_str()), ("authorization", bearer.as_str())];
        let expected = if tokens { (200, Some(bearer.clone()), None) } else { (200, None, operators()) };
        assert_eq!(seen(&gateway, &provider, &token).await, expected, "{settings}");

        let api_key = [("x-litellm-api-key", key.as_str()), ("x-api-key", KEY)];
        let expected = (200, None, if keys { Some(KEY.to_owned()) } else { operators() });
        assert_eq!(seen(&gateway, &provider, &api_key).await, expected, "{settings}");

        // Nothing of the kind, and a key of ours in the provider's slot.
        for field in [("x-api-key", key.as_str()), ("authorization", &format!("Bearer {key}"))] {
            let ours = [("x-litellm-api-key", key.as_str()), field];
            assert_eq!(seen(&gateway, &provider, &ours).await, (200, None, operators()), "{settings}");
        }
        // Alone it is nobody's credential here.
        assert_eq!(seen(&gateway, &provider, &token[1..]).await, (401, None, None), "{settings}");
        gateway.stop().await;
    }
}
