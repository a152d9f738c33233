//! Every recorded request, sent again: the same outcome, or a row of `docs/compatibility.md` that names the difference.

use portcullis_bench::client::RawConnection;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;

use crate::compatibility::Differences;
use crate::recorded::{Case, Outcome, cases};
use crate::support::gateway;

/// What a recording is called, what it was made with beside the model, and its lines.
const RECORDINGS: [(&str, &str, &str); 5] = [
    ("headers", "general_settings: {master_key: sk-1234}", include_str!("recorded/headers.jsonl")),
    ("client-side", "general_settings: {master_key: sk-1234}", include_str!("recorded/client-side.jsonl")),
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
];

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_to_litellm_is_documented_and_every_documented_one_exists() {
    let mut differences = Differences::read();
    let mut unnamed = Vec::new();
    let mut count = 0;
    for (name, settings, lines) in RECORDINGS {
        let provider = Provider::start().unwrap();
        let gateway = gateway(&config(settings, &provider)).start().await;
        gateway.watch(&provider);
        for case in cases(name, lines) {
            let ours = answer(&gateway, &provider, &case).await;
            count += 1;
            let (kept, ours, theirs) = (ours.keeps(&case.outcome), ours.to_string(), case.outcome.to_string());
            if !kept && !differences.name(&case.id, &theirs, &ours) {
                unnamed.push(format!("| `{}` | `{theirs}` | `{ours}` |", case.id));
            }
        }
        gateway.stop().await;
    }
    assert_eq!(count, 193, "a case was lost");
    assert!(unnamed.is_empty(), "not in docs/compatibility.md:\n{}", unnamed.join("\n"));
    assert_eq!(differences.stale(), [], "in docs/compatibility.md, but no difference any more");
}

fn config(settings: &str, provider: &Provider) -> String {
    format!(
        "{settings}\n\
         model_list:\n\
         - model_name: gpt-4o\n  \
           litellm_params: {{model: openai/gpt-4o, api_base: '{}/v1', api_key: sk-upstream-secret}}\n",
        provider.url()
    )
}

async fn answer(gateway: &Gateway, provider: &Provider, case: &Case) -> Outcome {
    provider.clear();
    let mut connection = RawConnection::open(gateway.data_addr()).await;
    connection.send(&case.request).await;
    let response = connection.response().await;
    let body = serde_json::from_slice(&response.body).unwrap_or_default();
    let upstream = provider.requests().iter().map(|seen| seen.header("authorization").unwrap_or("-").to_owned()).last();
    Outcome::new(response.status, &body, upstream)
}
