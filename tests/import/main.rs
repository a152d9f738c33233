//! `portcullis import litellm`: key strings that LiteLLM gave out go on working here, within the same bounds, however often
//! the command is run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

use std::process::Stdio;

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const MASTER: &str = "sk-master-import-0123456789";

const OWN_SCHEMA: &str = include_str!("litellm.sql");

/// The tables as LiteLLM's own migrations make them, where `scripts/litellm-schema` was run; in CI it was.
fn real_schema() -> Option<String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    let target = target.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    let schema = std::fs::read_to_string(target.join("litellm/schema.sql")).ok();
    assert!(schema.is_some() || std::env::var_os("CI").is_none(), "scripts/litellm-schema was not run");
    schema
}

/// A LiteLLM database, and a gateway with one of its own.
struct Scene {
    source: tokio_postgres::Client,
    url: String,
    gateway: Gateway,
    provider: Provider,
    _server: PostgresServer,
}

impl Scene {
    async fn new() -> Self {
        Self::with(OWN_SCHEMA).await
    }

    /// With these tables.
    async fn with(schema: &str) -> Self {
        let server = PostgresServer::start();
        let (url, own) = (server.database().await, server.database().await);
        let config: tokio_postgres::Config = url.parse().unwrap();
        let (source, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        source.batch_execute(schema).await.unwrap();
        let provider = Provider::start().unwrap();
        let model = |name: &str| {
            format!(
                "  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{}/v1', api_key: provider-key-0123}}\n",
                provider.url()
            )
        };
        let models = [model("m"), model("n")].concat();
        let config = format!("model_list:\n{models}general_settings:\n  master_key: {MASTER}\n  database_url: {own}\n");
        let gateway = crate::support::gateway(&config).start().await;
        gateway.watch(&provider);
        Self { source, url, gateway, provider, _server: server }
    }

    async fn sql(&self, sql: &str) {
        self.source.batch_execute(sql).await.unwrap();
    }

    /// A key of the source, with these columns.
    async fn key(&self, string: &str, columns: &[(&str, &str)]) {
        self.gateway.client_credential(string);
        let names: String = columns.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = columns.iter().map(|(_, value)| format!(", {value}")).collect();
        let token = KeyHash::of(string);
        self.sql(&format!(r#"INSERT INTO "LiteLLM_VerificationToken" (token{names}) VALUES ('{token}'{values})"#))
            .await;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["import", "litellm", "--config"]).arg(self.gateway.config_path()).args(arguments);
        command.env("LITELLM_DATABASE_URL", &self.url).kill_on_drop(true);
        command
    }

    /// What a run prints.
    async fn import(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    async fn chat(&self, key: &str, model: &str) -> Answer {
        let request = self.gateway.request(Method::POST, "/v1/chat/completions");
        self.gateway.send(request.bearer_auth(key).json(&json!({"model": model}))).await
    }

    async fn manage(&self, path: &str, body: Value) -> Answer {
        self.gateway.send(self.gateway.request(Method::POST, path).bearer_auth(MASTER).json(&body)).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.gateway.send(self.gateway.request(Method::GET, path).bearer_auth(MASTER)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        answer.json()
    }

    async fn audited(&self) -> u64 {
        self.get("/audit").await["total"].as_u64().unwrap()
    }
}

/// How many of a kind became what, by a printed report.
fn count(printed: &str, kind: &str, outcome: &str) -> u64 {
    let line = printed.lines().find(|line| line.starts_with(&format!("{kind:<8} {outcome:<20} ")));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// A company as LiteLLM keeps it.
async fn company(scene: &Scene) {
    scene
        .sql(
            r#"
        INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, rpm_limit, created_by, updated_by)
            VALUES ('nothing', 0, NULL, 'x', 'x'), ('slow', 5, 0, 'x', 'x');
        INSERT INTO "LiteLLM_UserTable" (user_id, user_role, models, user_email, max_budget, spend)
            VALUES ('ann', 'internal_user', '{m}', 'ann@example.com', NULL, 0.5), ('broke', 'internal_user', '{}', NULL, 1, 1),
                ('default_user_id', 'proxy_admin', '{}', NULL, NULL, 0);
        INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, models, blocked, members_with_roles, metadata, max_budget, spend)
            VALUES ('blue', 'Blue', '{n}', false, '[{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}]',
                '{"model_rpm_limit": {"m": 0}}', 100, 1.5),
            ('shut', 'Shut', '{}', true, '[]', '{}', NULL, 0), ('litellm-dashboard', NULL, '{}', false, '[]', '{}', NULL, 0);
        INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, budget_id) VALUES ('bob', 'blue', 0.25, 'nothing');
        INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
            VALUES ('org', 'Org', 'slow', 'x', 'x');
        "#,
        )
        .await;
    for (string, columns) in [
        ("sk-plain-0123456789", [("key_alias", "'plain'"), ("metadata", r#"'{"a": 1, "tags": ["x"]}'"#)]),
        ("sk-blocked-0123456789", [("blocked", "true"), ("spend", "0")]),
        ("sk-expired-0123456789", [("expires", "'2020-01-01'"), ("spend", "0")]),
        ("sk-models-0123456789", [("models", "'{n}'"), ("spend", "0")]),
        ("sk-alias-0123456789", [("models", "'{n}'"), ("aliases", r#"'{"m": "n"}'"#)]),
        ("sk-spent-0123456789", [("max_budget", "2"), ("spend", "2.5")]),
        ("sk-slow-0123456789", [("rpm_limit", "0"), ("spend", "0")]),
        ("sk-budget-0123456789", [("budget_id", "'slow'"), ("spend", "0")]),
        ("sk-model-slow-0123456789", [("metadata", r#"'{"model_rpm_limit": {"m": 0}}'"#), ("spend", "0")]),
        ("sk-anns-0123456789", [("user_id", "'ann'"), ("spend", "0")]),
        ("sk-brokes-0123456789", [("user_id", "'broke'"), ("spend", "0")]),
        ("sk-blues-0123456789", [("team_id", "'blue'"), ("user_id", "'ann'")]),
        ("sk-bobs-0123456789", [("team_id", "'blue'"), ("user_id", "'bob'")]),
        ("sk-shuts-0123456789", [("team_id", "'shut'"), ("spend", "0")]),
        ("sk-session-0123456789", [("team_id", "'litellm-dashboard'"), ("user_id", "'default_user_id'")]),
        ("sk-negative-0123456789", [("rpm_limit", "-1"), ("spend", "0")]),
        ("sk-same-alias-0123456789", [("key_alias", "'plain'"), ("spend", "0")]),
    ] {
        scene.key(string, &columns).await;
    }
    scene.gateway.client_credential("sk-old-0123456789");
    let (old, plain) = (KeyHash::of("sk-old-0123456789"), KeyHash::of("sk-plain-0123456789"));
    scene
        .sql(&format!(
            r#"INSERT INTO "LiteLLM_DeprecatedVerificationToken" (id, token, active_token_id, revoke_at) VALUES
               ('1', '{old}', '{plain}', '2999-01-01'), ('2', '{}', '{plain}', '2020-01-01')"#,
            KeyHash::of("sk-too-old-0123456789")
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_strings_go_on_working_within_the_same_bounds() {
    for schema in [Some(OWN_SCHEMA.to_owned()), real_schema()].into_iter().flatten() {
        key_strings_go_on_working(Scene::with(&schema).await).await;
    }
}

async fn key_strings_go_on_working(scene: Scene) {
    company(&scene).await;
    let rehearsal = scene.import(&["--dry-run"]).await;
    assert!(rehearsal.starts_with("nothing was written"), "{rehearsal}");
    assert_eq!(scene.chat("sk-plain-0123456789", "m").await.status, 401);
    assert_eq!(scene.audited().await, 0);

    let printed = scene.import(&[]).await;
    for (kind, outcome, expected) in [
        ("key", "new", 14),
        ("key", "not taken", 2),
        ("session", "not taken", 1),
        ("team", "new", 2),
        ("user", "new", 2),
        ("user", "not taken", 1),
        ("old key", "new", 1),
    ] {
        assert_eq!(count(&printed, kind, outcome), expected, "{kind} {outcome}:\n{printed}");
    }
    for reason in ["rpm_limit is -1", "alias exists already", "LiteLLM_OrganizationTable: 1 rows not taken"] {
        assert!(printed.contains(reason), "{reason}:\n{printed}");
    }
    for (key, model, status, kind) in [
        ("sk-plain-0123456789", "m", 200, ""),
        ("sk-old-0123456789", "m", 200, ""),
        ("sk-too-old-0123456789", "m", 401, "token_not_found_in_db"),
        ("sk-blocked-0123456789", "m", 401, "auth_error"),
        ("sk-expired-0123456789", "m", 401, "expired_key"),
        ("sk-models-0123456789", "m", 403, "key_model_access_denied"),
        ("sk-models-0123456789", "n", 200, ""),
        ("sk-alias-0123456789", "m", 200, ""),
        ("sk-spent-0123456789", "m", 429, "budget_exceeded"),
        ("sk-slow-0123456789", "m", 429, "throttling_error"),
        ("sk-budget-0123456789", "m", 429, "throttling_error"),
        ("sk-model-slow-0123456789", "m", 429, "throttling_error"),
        ("sk-model-slow-0123456789", "n", 200, ""),
        ("sk-anns-0123456789", "n", 403, "user_model_access_denied"),
        ("sk-brokes-0123456789", "m", 429, "budget_exceeded"),
        ("sk-blues-0123456789", "n", 200, ""),
        ("sk-blues-0123456789", "m", 403, "team_model_access_denied"),
        ("sk-bobs-0123456789", "n", 429, "budget_exceeded"),
        ("sk-shuts-0123456789", "m", 401, "auth_error"),
        ("sk-session-0123456789", "m", 401, "token_not_found_in_db"),
        ("sk-negative-0123456789", "m", 401, "token_not_found_in_db"),
    ] {
        let answer = scene.chat(key, model).await;
        let told =
            if status == 200 { String::new() } else { answer.json()["error"]["type"].as_str().unwrap().to_owned() };
        assert_eq!((answer.status, told.as_str()), (status, kind), "{key} {model}");
    }
    let team = scene.get("/team/info?team_id=blue").await;
    assert_eq!((&team["team_info"]["spend"], &team["team_info"]["max_budget"]), (&json!(1.5), &json!(100)));
    assert_eq!(team["team_memberships"][1]["spend"], 0.25);
    let plain = scene.get(&format!("/key/info?key={}", KeyHash::of("sk-plain-0123456789"))).await;
    assert_eq!((&plain["info"]["metadata"], &plain["info"]["tags"]), (&json!({"a": 1}), &json!(["x"])));
    assert_eq!(scene.provider.requests().len(), 6);
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_does_nothing_twice_and_leaves_what_was_changed_here() {
    let scene = Scene::new().await;
    company(&scene).await;
    scene.import(&[]).await;
    let written = scene.audited().await;
    let printed = scene.import(&[]).await;
    assert_eq!((count(&printed, "key", "as before"), count(&printed, "key", "new")), (14, 0), "{printed}");
    assert_eq!(scene.audited().await, written);

    let name = |string: &str| KeyHash::of(string).to_string();
    let (changed, deleted, rotated) =
        (name("sk-models-0123456789"), name("sk-anns-0123456789"), name("sk-alias-0123456789"));
    for (path, body) in [
        ("/key/update", json!({"key": changed, "models": ["m"]})),
        ("/key/delete", json!({"keys": [deleted]})),
        ("/key/regenerate", json!({"key": rotated})),
    ] {
        assert_eq!(scene.manage(path, body).await.status, 200);
    }
    // There, too, things go on: a block, more spent, a new string, one that is gone.
    let (blocked, spent, replaced, gone) = (
        name("sk-plain-0123456789"),
        name("sk-blues-0123456789"),
        name("sk-slow-0123456789"),
        name("sk-shuts-0123456789"),
    );
    let new = name("sk-slow-again-0123456789");
    scene.gateway.client_credential("sk-slow-again-0123456789");
    let table = r#""LiteLLM_VerificationToken""#;
    scene
        .sql(&format!(
            r#"UPDATE {table} SET blocked = true WHERE token = '{blocked}';
               UPDATE {table} SET models = '{{m,n}}' WHERE token = '{changed}';
               UPDATE {table} SET spend = 7 WHERE token = '{spent}';
               UPDATE {table} SET token = '{new}', rpm_limit = NULL WHERE token = '{replaced}';
               INSERT INTO "LiteLLM_DeprecatedVerificationToken" (id, token, active_token_id, revoke_at) VALUES ('3', '{replaced}', '{new}', '2999-01-01');
               DELETE FROM {table} WHERE token = '{gone}'"#
        ))
        .await;
    let printed = scene.import(&[]).await;
    for reason in ["changed here since", "deleted here", "another string here"] {
        assert!(printed.contains(reason), "{reason}:\n{printed}");
    }
    assert_eq!((count(&printed, "key", "changed"), count(&printed, "key", "deleted")), (2, 1), "{printed}");
    for (key, model, status) in [
        ("sk-plain-0123456789", "m", 401),
        ("sk-models-0123456789", "n", 403),
        ("sk-anns-0123456789", "m", 401),
        ("sk-slow-again-0123456789", "m", 200),
        ("sk-slow-0123456789", "m", 200),
        ("sk-shuts-0123456789", "m", 401),
    ] {
        assert_eq!(scene.chat(key, model).await.status, status, "{key}");
    }
    let info = scene.get(&format!("/key/info?key={spent}")).await;
    assert_eq!(info["info"]["spend"], 7.0);
    let again = scene.import(&[]).await;
    assert_eq!((count(&again, "key", "changed"), count(&again, "key", "new")), (0, 0), "{again}");
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watching_import_follows_until_it_is_told_to_end() {
    let scene = Scene::new().await;
    let mut watching: Child =
        scene.command(&["--watch", "--every", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    scene.key("sk-first-0123456789", &[("spend", "0")]).await;
    scene.key("sk-second-0123456789", &[("spend", "0")]).await;
    let status = async |wanted: u16| {
        let seen = async { while scene.chat("sk-first-0123456789", "m").await.status != wanted {} };
        portcullis_bench::within("what was done there", seen).await;
    };
    status(200).await;
    let first = KeyHash::of("sk-first-0123456789");
    scene.sql(&format!(r#"DELETE FROM "LiteLLM_VerificationToken" WHERE token = '{first}'"#)).await;
    status(401).await;
    let pid = watching.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = portcullis_bench::within("its end", watching.wait()).await.unwrap();
    assert!(ended.success());
    scene.gateway.stop().await;
}

/// Nothing that goes wrong in the source opens a key here, brings back what was deleted, or ends everybody's keys.
#[tokio::test(flavor = "multi_thread")]
async fn an_accident_in_the_source_is_none_here() {
    let scene = Scene::new().await;
    scene
        .sql(
            r#"INSERT INTO "LiteLLM_TeamTable" (team_id, models, max_budget) VALUES ('bad', '{n}', -5), ('red', '{n}', NULL);
               INSERT INTO "LiteLLM_UserTable" (user_id, models, max_budget) VALUES ('odd', '{n}', -1), ('ann', '{n}', NULL);
               INSERT INTO "LiteLLM_VerificationToken" (token) VALUES ('sk-clear-text-0123456789')"#,
        )
        .await;
    scene.key("sk-of-bad-0123456789", &[("team_id", "'bad'")]).await;
    scene.key("sk-of-odd-0123456789", &[("user_id", "'odd'")]).await;
    scene.key("sk-of-red-0123456789", &[("team_id", "'red'")]).await;
    scene.key("sk-plain-0123456789", &[("spend", "0")]).await;
    let printed = scene.import(&[]).await;
    assert!(!printed.contains("sk-clear-text"), "{printed}");
    assert_eq!((count(&printed, "key", "new"), count(&printed, "key", "not taken")), (2, 3), "{printed}");
    for key in ["sk-of-bad-0123456789", "sk-of-odd-0123456789"] {
        assert_eq!(scene.chat(key, "m").await.status, 401, "{key}: what bounded it is not here");
    }
    for (path, body) in [("/team/delete", json!({"team_ids": ["red"]})), ("/user/delete", json!({"user_ids": ["ann"]}))]
    {
        assert_eq!(scene.manage(path, body).await.status, 200);
    }
    let printed = scene.import(&[]).await;
    assert_eq!((count(&printed, "team", "new"), count(&printed, "user", "new")), (0, 0), "{printed}");
    assert_eq!((count(&printed, "team", "kept as it is here"), count(&printed, "user", "kept as it is here")), (1, 1));

    scene.sql(r#"DELETE FROM "LiteLLM_VerificationToken""#).await;
    assert!(scene.import(&[]).await.contains("--delete-many"));
    assert_eq!(scene.chat("sk-plain-0123456789", "m").await.status, 200);
    scene.import(&["--delete-many"]).await;
    assert_eq!(scene.chat("sk-plain-0123456789", "m").await.status, 401);
    scene.gateway.stop().await;
}
