//! Every recorded request, sent again: the same outcome, or a row of `docs/compatibility.md` that names the difference.

use portcullis_bench::client::RawConnection;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::{Provider, RecordedRequest};

use crate::compatibility::Differences;
use crate::recorded::{Case, Outcome, cases};
use crate::support::gateway;

/// What a recording is called, what it was made with beside the model, and its lines.
const RECORDINGS: [(&str, &str, &str); 11] = [
    ("headers", "general_settings: {master_key: sk-1234}", include_str!("recorded/headers.jsonl")),
    (
        "client-side",
        "general_settings: {master_key: sk-1234}\nportcullis:\n  outbound: {allow: [127.0.0.0/8]}",
        include_str!("recorded/client-side.jsonl"),
    ),
    (
        "client-side-everywhere",
        "general_settings: {master_key: sk-1234, allow_client_side_credentials: true}\n\
         portcullis:\n  outbound: {allow: [127.0.0.0/8]}\n  client_side: {user_config: true}",
        include_str!("recorded/client-side-everywhere.jsonl"),
    ),
    (
        "custom-header",
        "general_settings: {master_key: sk-1234, litellm_key_header_name: X-My-Gateway-Key}",
        include_str!("recorded/custom-header.jsonl"),
    ),
    (
        "no-master-key",
        "general_settings: {dangerously_permit_weak_or_unset_master_key: true}",
        include_str!("recorded/no-master-key.jsonl"),
    ),
    (
        "route-gates",
        "general_settings: {master_key: sk-1234, allowed_routes: [/v1/chat/completions, /health/liveliness]}",
        include_str!("recorded/route-gates.jsonl"),
    ),
    (
        "custom-auth",
        "general_settings: {master_key: sk-1234, custom_auth: custom_auth.user_api_key_auth}",
        include_str!("recorded/custom-auth.jsonl"),
    ),
    (
        "custom-auth-auto",
        "general_settings: {master_key: sk-1234, custom_auth: custom_auth.user_api_key_auth, \
         custom_auth_settings: {mode: auto}}",
        include_str!("recorded/custom-auth-auto.jsonl"),
    ),
    (
        "custom-auth-off",
        "general_settings: {master_key: sk-1234, custom_auth: custom_auth.user_api_key_auth, \
         custom_auth_settings: {mode: 'off'}}",
        include_str!("recorded/custom-auth-off.jsonl"),
    ),
    (
        "custom-auth-variants",
        "general_settings: {master_key: sk-1234, custom_auth: variants.decide}",
        include_str!("recorded/custom-auth-variants.jsonl"),
    ),
    (
        "custom-auth-variants-checked",
        "general_settings: {master_key: sk-1234, custom_auth: variants.decide, custom_auth_run_common_checks: true}\n\
         litellm_settings: {enable_post_custom_auth_checks: true}",
        include_str!("recorded/custom-auth-variants-checked.jsonl"),
    ),
];

/// What the configurations name.
const FUNCTIONS: [(&str, &str); 2] = [
    ("custom_auth.py", include_str!("../custom_auth/article/custom_auth.py")),
    ("variants.py", include_str!("custom_auth/variants.py")),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_to_litellm_is_documented_and_every_documented_one_exists() {
    let mut differences = Differences::read();
    let mut unnamed = Vec::new();
    let mut count = 0;
    for (name, settings, lines) in RECORDINGS {
        let providers = [Provider::start().unwrap(), Provider::start().unwrap()];
        let setup = gateway(&config(settings, &providers));
        for (file, content) in FUNCTIONS {
            std::fs::write(setup.directory().join(file), content).unwrap();
        }
        let gateway = setup.start().await;
        providers.iter().for_each(|provider| gateway.watch(provider));
        let lines = lines.replace("CHOSEN", &providers[1].url()).replace("NOWHERE", &nowhere());
        for case in cases(name, &lines) {
            let ours = answer(&gateway, &providers, &case).await;
            count += 1;
            let (kept, ours, theirs) = (ours.keeps(&case.outcome), ours.to_string(), case.outcome.to_string());
            if !kept && !differences.name(&case.id, &theirs, &ours) {
                unnamed.push(format!("| `{}` | `{theirs}` | `{ours}` |", case.id));
            }
        }
        gateway.stop().await;
    }
    assert_eq!(count, 339, "a case was lost");
    assert!(unnamed.is_empty(), "not in docs/compatibility.md:\n{}", unnamed.join("\n"));
    assert_eq!(differences.stale(), [], "in docs/compatibility.md, but no difference any more");
}

/// The model that every recording uses, and two that take something of the caller.
fn config(settings: &str, [operators, chosen]: &[Provider; 2]) -> String {
    let model = |name: &str, takes: &str| {
        format!(
            "- model_name: {name}\n  litellm_params:\n    model: openai/gpt-4o\n    api_base: {}/v1\n    \
             api_key: sk-upstream-secret\n    configurable_clientside_auth_params: [{takes}]\n",
            operators.url()
        )
    };
    let pattern = format!("{{api_base: '{}/v1'}}", chosen.url().replace('.', r"\."));
    let models = [
        model("gpt-4o", ""),
        model("gpt-4o-clientside", "api_key, api_base"),
        model("gpt-4o-regex", &format!("api_key, {pattern}")),
    ];
    format!("{settings}\nmodel_list:\n{}", models.concat())
}

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn answer(gateway: &Gateway, providers: &[Provider; 2], case: &Case) -> Outcome {
    providers.iter().for_each(Provider::clear);
    let mut connection = RawConnection::open(gateway.data_addr()).await;
    connection.send(&case.request).await;
    let response = connection.response().await;
    let body = serde_json::from_slice(&response.body).unwrap_or_default();
    let seen_by = |provider: &Provider, place: &str| {
        let credential = |seen: &RecordedRequest| format!("{}{place}", seen.header("authorization").unwrap_or("-"));
        provider.requests().iter().map(credential).last()
    };
    let upstream = seen_by(&providers[0], "").or_else(|| seen_by(&providers[1], " elsewhere"));
    Outcome::new(response.status, &body, upstream)
}
