//! SIGHUP: the configuration is read again. A bad file changes nothing and says why; a good one takes effect for every
//! request that begins after it, and for none that is under way.

use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_admin_api::keys::rules::KeyRules;
use portcullis_filters::authn::Gate;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::Source;
use crate::background::announce;
use crate::config::{Settings, process_environment};
use crate::live::Makings;
use crate::proxy::Live;

/// Everything that a reload replaces, and what it is made from.
#[derive(Clone)]
pub struct Reload {
    /// What to read.
    pub source: Source,
    /// What stays.
    pub makings: Makings,
    /// The settings in force: shared, so that whoever publishes publishes the newest.
    pub settings: Arc<ArcSwap<Settings>>,
    /// What the data listener decides by.
    pub live: Arc<ArcSwap<Live>>,
    /// Whom the management listener lets in.
    pub gate: Arc<ArcSwap<Gate>>,
    /// The management API's rules for keys.
    pub rules: Arc<ArcSwap<KeyRules>>,
}

impl Reload {
    /// Reloads at every SIGHUP.
    pub async fn on_hangup(self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(cause = %error, "SIGHUP cannot be listened for"),
        };
        while hangups.recv().await.is_some() {
            self.reload();
        }
    }

    /// Reads the file and puts it in force, or says what is wrong with it.
    fn reload(&self) {
        let path = self.source.path.as_deref();
        match Settings::load(path, &self.source.overrides, &process_environment) {
            Err(error) => {
                for mistake in &error.mistakes {
                    tracing::error!(%mistake, "the new configuration is not used");
                }
            }
            Ok(loaded) => {
                announce::findings(&loaded.warnings, &loaded.notices);
                self.say_what_waits(&loaded.settings);
                let same_function = self.settings.load().custom_auth == loaded.settings.custom_auth;
                self.settings.store(Arc::new(loaded.settings));
                self.publish();
                if same_function {
                    self.makings.custom.renew();
                }
                tracing::info!("the new configuration is in force");
            }
        }
    }

    /// Puts the settings in force; also called when the stored master key becomes known.
    pub fn publish(&self) {
        let settings = self.settings.load_full();
        let live = Arc::new(self.makings.live(&settings));
        self.gate.store(Arc::clone(&live.gate));
        self.live.store(live);
        let rules = self.makings.key_rules(&settings.keys, &settings.master_keys);
        self.rules.store(Arc::new(rules));
    }

    /// Sockets, threads, the store, the cache and the log are made once.
    fn say_what_waits(&self, new: &Settings) {
        let old = self.settings.load();
        let changed = [
            ("portcullis.listen", old.listen != new.listen),
            ("general_settings.database_url and its pool", old.store != new.store),
            ("cache", old.cache != new.cache),
            ("portcullis.telemetry", old.telemetry != new.telemetry),
            ("portcullis.http.max_connections", old.http.max_connections != new.http.max_connections),
        ];
        for (what, _) in changed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(setting = what, "changed, but takes effect at the next start");
        }
    }
}
