//! A web hook through the whole gateway: what it proves is let in, and when it is away nobody is.

use http::Method;
use portcullis_bench::authoriser::Authoriser;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;

use crate::scene::{CHAT, MASTER, PROVIDER_KEY};

async fn ask(gateway: &Gateway, credential: &str) -> u16 {
    gateway.client_credential(credential);
    let body = r#"{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}"#;
    let request =
        gateway.request(Method::POST, CHAT).bearer_auth(credential).header("content-type", "application/json");
    gateway.send(request.body(body)).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_decides_and_lets_nobody_in_when_it_is_away() {
    for (mode, kept, later) in [("'on'", false, 503), ("auto", false, 503), ("'on'", true, 200)] {
        let (provider, hook) = (Provider::start().unwrap(), Authoriser::start().unwrap());
        let gateway = crate::support::gateway(&format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n      api_base: {}/v1\n      \
             api_key: {PROVIDER_KEY}\ngeneral_settings:\n  master_key: {MASTER}\nlitellm_settings:\n  \
             require_auth_for_metrics_endpoint: false\nportcullis:\n  custom_auth:\n    mode: {mode}\n    hook:\n      url: {}\n",
            provider.url(),
            hook.url(kept)
        ))
        .start()
        .await;
        gateway.watch(&provider);
        assert_eq!(ask(&gateway, "some-credential").await, 200, "{mode}");
        assert_eq!(provider.requests()[0].header("authorization"), Some(&*format!("Bearer {PROVIDER_KEY}")));
        drop(hook);
        // The connection that it had may still carry a question that was under way.
        portcullis_bench::within("a hook that is gone", async {
            while ask(&gateway, "another-credential").await == 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(ask(&gateway, "some-credential").await, later, "{mode}, kept: {kept}");
        assert_eq!(ask(&gateway, MASTER).await, 503, "{mode}: no answer is no refusal");
        gateway.stop().await;
    }
}
