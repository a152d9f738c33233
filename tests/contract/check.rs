//! `portcullis check`, as a person runs it: five mistakes are five lines and status 78, LiteLLM's own settings one line.

use std::path::Path;
use std::process::{Command, Output};

use portcullis_bench::gateway::GatewaySetup;

use crate::support::gateway;

const MISTAKEN: &str = "\
general_settings:
  master_key: os.environ/NOT_SET_ANYWHERE
  master_kye: sk-other
  user_api_key_cache_ttl: soon
model_list:
  - model_name: gpt-4o
    litellm_params: {model: opneai/gpt-4o}
portcullis:
  listen:
    data: nowhere
";

fn check(file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("check").arg(file).env_clear();
    command.env("AZURE_API_KEY", "an-azure-key").env("AZURE_API_BASE", "https://eu.example.com");
    command.env("ANTHROPIC_API_KEY", "an-anthropic-key").env("LITELLM_MASTER_KEY", "sk-0a1b2c3d4e5f6789");
    command.env("DATABASE_URL", "postgresql://portcullis:a-password@db/portcullis").output().unwrap()
}

fn file(setup: &GatewaySetup, text: &str) -> std::path::PathBuf {
    let path = setup.directory().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn five_mistakes_are_five_lines_with_path_and_place_and_status_78() {
    let setup = gateway("");
    let path = file(&setup, MISTAKEN);
    let checked = check(&path);
    assert_eq!(checked.status.code(), Some(78));
    let printed = String::from_utf8(checked.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 5, "{printed}");
    for (line, (key, place)) in lines.iter().zip([
        ("general_settings.master_key", "2:15"),
        ("general_settings.master_kye", "3:3"),
        ("general_settings.user_api_key_cache_ttl", "4:27"),
        ("model_list[0].litellm_params.model", "7:29"),
        ("portcullis.listen.data", "10:11"),
    ]) {
        let start = format!("{key} ({}:{place}): ", path.display());
        assert!(line.starts_with(&start) && line.len() > start.len(), "{line}\ninstead of {start}...");
    }
    assert!(!printed.contains("sk-other"), "a value is no part of a message");
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_file_does_not_start_the_proxy_either() {
    let finished = gateway(MISTAKEN.split("portcullis:").next().unwrap()).run().await;
    assert_eq!(finished.status.code(), Some(78), "{}", finished.output);
    assert_eq!(finished.output.lines().count(), 4, "{}", finished.output);
}

#[test]
fn a_configuration_of_litellm_loads_with_one_line_about_what_is_not_ours() {
    let checked = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/litellm-migration.yaml"));
    let printed = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{printed}");
    let notes: Vec<_> = printed.lines().filter(|line| line.starts_with("note: not about this product")).collect();
    let [note] = notes[..] else { panic!("{printed}") };
    for key in ["litellm_settings.drop_params", "router_settings.routing_strategy", "general_settings.alerting"] {
        assert!(note.contains(key), "{key} is missing in {note}");
    }
    assert!(printed.contains("model gpt-4o: azure/gpt-4o-eu at https://eu.example.com"), "{printed}");
    for secret in ["an-azure-key", "an-anthropic-key", "sk-0a1b2c3d4e5f6789", "a-password"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
