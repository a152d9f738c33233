//! The article's function, byte for byte, beside the article's configuration.

use http::Method;
use portcullis_bench::gateway::{Gateway, GatewaySetup};
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

use crate::scene::CHAT;

const FUNCTION: &[u8] = include_bytes!("article/custom_auth.py");

/// Without its database, which has no part in this.
const CONFIGURATION: &str = "\
general_settings:
  master_key: sk-1234
  custom_auth: custom_auth.user_api_key_auth  # 模块路径.函数名
";

fn setup(rest: &str, provider: &Provider) -> GatewaySetup {
    let setup = crate::support::gateway(&format!(
        "{CONFIGURATION}{rest}model_list:\n- model_name: gpt-4o\n  \
         litellm_params: {{model: openai/gpt-4o, api_base: '{}/v1', api_key: sk-the-operators-own}}\n",
        provider.url()
    ));
    std::fs::write(setup.directory().join("custom_auth.py"), FUNCTION).unwrap();
    setup
}

async fn ask(gateway: &Gateway, credential: Option<&str>) -> (u16, Value) {
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "你好"}]});
    let mut request = gateway.request(Method::POST, CHAT).json(&body);
    if let Some(credential) = credential {
        if credential.len() > 8 {
            gateway.client_credential(credential);
        }
        request = request.bearer_auth(credential);
    }
    let answer = gateway.send(request).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_articles_function_decides_alone() {
    let provider = Provider::start().unwrap();
    let gateway = setup("", &provider).start().await;
    gateway.watch(&provider);
    assert_eq!(ask(&gateway, Some("my-custom-key-888")).await.0, 200);
    assert_eq!(provider.requests()[0].header("authorization"), Some("Bearer sk-the-operators-own"));
    for credential in [Some("your-custom-key-888"), Some("sk-1234"), None] {
        let (status, body) = ask(&gateway, credential).await;
        assert_eq!(
            (status, &body["error"]["type"], &body["error"]["code"]),
            (401, &json!("auth_error"), &json!("401"))
        );
        assert!(body["error"]["message"].as_str().unwrap().starts_with("Authentication Error"), "{body}");
    }
    let manage = gateway.request(Method::POST, "/key/generate").bearer_auth("my-custom-key-888").json(&json!({}));
    assert_eq!(gateway.send(manage).await.status, 403, "an identity without a role manages nothing");
    assert_eq!(provider.requests().len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_virtual_keys_it_is_asked_first() {
    let provider = Provider::start().unwrap();
    let auto = "  custom_auth_settings:\n    mode: \"auto\"  # 支持虚拟 Key 和自定义认证混用\n";
    let gateway = setup(auto, &provider).start().await;
    gateway.watch(&provider);
    let key = gateway.generate_key(&json!({"models": ["gpt-4o"]})).await;
    for (credential, status) in [
        (Some("my-custom-key-888"), 200),
        (Some(&*key), 200),
        (Some("sk-1234"), 200),
        (Some("sk-nobody"), 401),
        (None, 401),
    ] {
        assert_eq!(ask(&gateway, credential).await.0, status, "{credential:?}");
    }
    gateway.stop().await;
}
