//! The article that many met LiteLLM through, typed as it stands: its configuration with `sk-1234` and a PostgreSQL, its
//! commands, its table of headers. Only the ports are those in use, and a provider stands behind `gpt-4o`.

use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};

use crate::shell::{curl, curl_lines};
use crate::support::gateway;

const CONFIGURATION: &str = r#"
general_settings:
  master_key: sk-1234
  database_url: "postgresql://postgres:password@127.0.0.1:5432/litellm"
"#;

const SESSION: &str = r#"
$ curl 'http://127.0.0.1:4000/key/generate' \
  -H 'Authorization: Bearer sk-1234' \
  -H 'Content-Type: application/json' \
  -d '{
    "models": ["gpt-4o"],
    "metadata": {"user": "zhangsan@example.com"}
  }'

$ curl -X POST 'http://127.0.0.1:4000/chat/completions' \
  -H 'Authorization: Bearer sk-qC5b02PjnQVdq3FPYY37wQ' \
  -H 'Content-Type: application/json' \
  -d '{
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "你好"}]
  }'

$ curl -X POST 'http://127.0.0.1:4000/chat/completions' \
  -H 'x-litellm-api-key: sk-qC5b02PjnQVdq3FPYY37wQ' \
  -H 'Content-Type: application/json' \
  -d '{
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "你好"}]
  }'
"#;

/// The key that the article was given.
const THEIR_KEY: &str = "sk-qC5b02PjnQVdq3FPYY37wQ";

/// The headers of the article's table, the configured one last.
const HEADERS: [&str; 7] = [
    "x-litellm-api-key",
    "Authorization",
    "API-Key",
    "x-api-key",
    "x-goog-api-key",
    "Ocp-Apim-Subscription-Key",
    "X-My-Gateway-Key",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_articles_session_works_as_it_is_typed() {
    let provider = Provider::start().unwrap();
    let database = ArticleDatabase::start().await;
    let config = format!(
        "{}\n\
         portcullis:\n  additional_key_headers: [X-My-Gateway-Key]\n\
         model_list:\n\
         - model_name: gpt-4o\n  \
           litellm_params: {{model: openai/gpt-4o, api_base: '{}/v1', api_key: sk-the-operators-own}}\n",
        CONFIGURATION.replace("127.0.0.1:5432", &database.addr.to_string()),
        provider.url()
    );
    let gateway = gateway(&config).start().await;
    gateway.watch(&provider);
    gateway.printed("weak").await;

    let commands = curl_lines(SESSION);
    let generated = curl(&gateway, &commands[0], &[]).await;
    assert_eq!(generated.status, 200, "{generated:?}");
    let answer = generated.json();
    let key = answer["key"].as_str().unwrap().to_owned();
    gateway.client_credential(&key);
    has_what_the_article_shows(&answer);
    has_what_litellm_answers(&answer);

    let table = HEADERS.map(|name| {
        let value = if name == "Authorization" { format!("Bearer {key}") } else { key.clone() };
        commands[2].replace(&format!("x-litellm-api-key: {THEIR_KEY}"), &format!("{name}: {value}"))
    });
    for command in commands[1..].iter().map(|command| command.replace(THEIR_KEY, &key)).chain(table) {
        let answered = curl(&gateway, &command, &[]).await;
        assert_eq!((answered.status, &answered.json()["object"]), (200, &json!("chat.completion")), "{command}");
        let seen = provider.next_request().await;
        assert_eq!(seen.header("authorization"), Some("Bearer sk-the-operators-own"), "{command}");
        assert_eq!(seen.json()["messages"][0]["content"], "你好");
    }
    gateway.stop().await;
}

fn has_what_the_article_shows(answer: &Value) {
    for (name, value) in [
        ("models", json!(["gpt-4o"])),
        ("metadata", json!({"user": "zhangsan@example.com"})),
        ("user_id", Value::Null),
        ("team_id", Value::Null),
        ("model_max_budget", json!({})),
        ("model_rpm_limit", Value::Null),
        ("model_tpm_limit", Value::Null),
        ("max_budget", Value::Null),
        ("max_parallel_requests", Value::Null),
        ("guardrails", Value::Null),
        ("allowed_routes", json!([])),
    ] {
        assert_eq!(answer.get(name), Some(&value), "{name}");
    }
    let key = answer["key"].as_str().unwrap();
    assert_eq!(key.len(), THEIR_KEY.len());
    assert_eq!(answer["key_name"], format!("sk-...{}", &key[key.len() - 4..]));
}

/// Every field of LiteLLM's answer: those of the request, and those that only an answer has.
fn has_what_litellm_answers(answer: &Value) {
    const FIELDS: &str = "access_group_ids agent_id aliases allowed_cache_controls allowed_passthrough_routes allowed_routes \
        allowed_vector_store_indexes auto_rotate blocked budget_duration budget_fallbacks budget_id budget_limits \
        config created_at created_by default_estimated_output_tokens denied_passthrough_routes \
        disable_global_guardrails duration enable_prompt_caching end_user_budget_id enforced_params expires \
        guardrails key key_alias key_name key_type litellm_budget_table max_budget max_parallel_requests \
        mcp_rpm_limit metadata model_max_budget model_rpm_limit model_tpm_limit models object_permission \
        organization_id permissions policies project_id prompts rotation_interval router_settings rpm_limit \
        rpm_limit_type soft_budget spend tag_rpm_limit tags team_id throttle_on_budget_exceeded token token_id \
        tpd_limit tpm_limit tpm_limit_type updated_at updated_by user_id";
    let missing: Vec<_> = FIELDS.split_ascii_whitespace().filter(|name| answer.get(name).is_none()).collect();
    assert_eq!(missing, [""; 0]);
    assert_eq!(answer["token"], answer["token_id"]);
    assert_eq!((&answer["expires"], &answer["duration"]), (&Value::Null, &Value::Null));
    assert_eq!((&answer["created_by"], &answer["key_type"]), (&json!("default_user_id"), &json!("default")));
    let router = answer["router_settings"].as_object().unwrap();
    assert!(!router.is_empty() && router.values().all(Value::is_null), "{router:?}");
}

/// A PostgreSQL as the article's URL names it: user `postgres`, database `litellm`, on a port of this machine.
struct ArticleDatabase {
    addr: SocketAddr,
    _server: PostgresServer,
}

impl ArticleDatabase {
    async fn start() -> Self {
        let server = PostgresServer::start();
        let url = server.database().await;
        let config: tokio_postgres::Config = url.parse().unwrap();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'password'").await.unwrap();
        client.batch_execute("CREATE DATABASE litellm OWNER postgres").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(relay(listener, server.directory.join(".s.PGSQL.5432")));
        Self { addr, _server: server }
    }
}

/// The tests' server listens on a socket in its own directory only; the article's URL has a port.
async fn relay(listener: TcpListener, socket: PathBuf) {
    while let Ok((mut outside, _)) = listener.accept().await {
        let socket = socket.clone();
        tokio::spawn(async move {
            let mut inside = UnixStream::connect(socket).await?;
            tokio::io::copy_bidirectional(&mut outside, &mut inside).await
        });
    }
}
