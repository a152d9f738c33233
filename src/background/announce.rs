//! What a person sees at the start: warnings, the generated master key (once), and the line that says it is ready.

use std::io::Write;
use std::time::Duration;

use portcullis_filters::authn::virtual_key::KeyHash;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::reload::Reload;
use crate::app::STORE_AT_START;
use crate::config::Settings;
use crate::store::Store;

/// Says what a configuration should not stay like, and what of it is not used.
pub fn findings(warnings: &[String], notices: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for notice in notices {
        tracing::info!("{notice}");
    }
}

/// Says which models cost nothing because nobody said what they cost.
pub fn unpriced(settings: &Settings) {
    let names: Vec<_> = settings.unpriced_models().into_iter().collect();
    if !names.is_empty() {
        let models = names.join(", ");
        tracing::warn!(%models, "no price is known: calls count as free (portcullis.usage.prices)");
    }
}

/// Makes sure that there is a master key, waits until the data listener has `started`, and says so on standard output.
///
/// Tools wait for the line `portcullis: ready data=ADDRESS admin=ADDRESS`.
pub async fn ready(settings: Settings, store: Store, reload: Reload, started: oneshot::Receiver<()>) {
    let mut made = None;
    if settings.master_keys.is_empty() {
        let waiting = timeout(STORE_AT_START, master_key(&store, &reload)).await;
        match waiting {
            Ok(key) => made = key,
            Err(_) => {
                tracing::warn!("no master key is configured, and the store that would keep one is away; trying on");
                let (store, reload) = (store.clone(), reload.clone());
                tokio::spawn(async move {
                    if let Some(key) = master_key(&store, &reload).await {
                        say(&format!("{}\n", first_start(&key)));
                    }
                });
            }
        }
    }
    let data = settings.listen.data.to_string();
    if started.await.is_err() {
        return;
    }
    let admin = settings.listen.admin.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string);
    if let Some(key) = &made {
        say(&first_start(key));
    }
    if settings.models.iter().any(|model| model.name == "mock") {
        let near = data.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
        say(&first_call(&near, made.as_deref(), settings.listen.tls.is_some()));
    }
    say(&format!("portcullis: ready data={data} admin={admin}"));
}

/// The digest of the master key that this deployment made for itself. Returns the key string if this process made it.
async fn master_key(store: &Store, reload: &Reload) -> Option<String> {
    let fresh = format!("sk-{}", crate::telemetry::request_id());
    let digest = loop {
        match store.keep_master_key(KeyHash::of(&fresh)).await {
            Ok(digest) => break digest,
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    };
    reload.makings.stored_master_key.store(Some(digest.into()));
    reload.publish();
    (digest == KeyHash::of(&fresh)).then_some(fresh)
}

fn first_start(key: &str) -> String {
    format!(
        "\nNo master key is configured, so one was made. It is shown this once; only its hash is kept.\n\n    {key}\n\n\
         To choose your own, set general_settings.master_key or LITELLM_MASTER_KEY.\n"
    )
}

fn first_call(address: &str, key: Option<&str>, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let key = key.unwrap_or("$MASTER_KEY");
    format!(
        "Try it:\n\n    curl {scheme}://{address}/v1/chat/completions -H 'Authorization: Bearer {key}' \\\n      \
         -d '{{\"model\": \"mock\", \"messages\": [{{\"role\": \"user\", \"content\": \"hello\"}}]}}'\n"
    )
}

fn say(text: &str) {
    // Nobody reading is no reason to stop serving.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
