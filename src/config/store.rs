//! Which store keeps the keys, and how patiently it is asked.

use std::fmt;
use std::time::Duration;

use portcullis_filters::cache::CacheSettings;
use portcullis_filters::secret::Secret;
use url::Url;

use super::known::Known;
use super::reader::{Reader, Section};

/// The truth: one SQLite file, or PostgreSQL.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// `sqlite://portcullis.db`, `sqlite:///absolute/path`, or `postgresql://...`. Holds a password, perhaps.
    pub url: Secret,
    /// Connections to PostgreSQL at most; LiteLLM's `database_connection_pool_limit`.
    pub pool_size: usize,
    /// How long a request waits for a free connection; LiteLLM's `database_connection_timeout`.
    pub pool_wait: Duration,
    /// How long making a connection may take; LiteLLM's `database_connect_timeout`.
    pub connect_timeout: Duration,
    /// How long one query may take; LiteLLM's `database_socket_timeout`.
    pub query_timeout: Duration,
}

impl StoreSettings {
    /// The URL as it may be shown: without password and parameters.
    #[must_use]
    pub fn shown_url(&self) -> String {
        let text = self.url.expose();
        if text.starts_with("sqlite:") {
            return text.to_owned();
        }
        let Ok(url) = Url::parse(text) else { return "postgresql://...".to_owned() };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("postgresql://{}{port}{}", url.host_str().unwrap_or_default(), url.path())
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("url", &self.shown_url())
            .field("pool_size", &self.pool_size)
            .field("pool_wait", &self.pool_wait)
            .field("connect_timeout", &self.connect_timeout)
            .field("query_timeout", &self.query_timeout)
            .finish()
    }
}

const EMBEDDED: &str = "sqlite://portcullis.db";

pub(super) fn read(reader: &Reader<'_>, general: &Section<'_>) -> StoreSettings {
    let five = Duration::from_secs(5);
    StoreSettings {
        url: url(reader, general),
        pool_size: general.whole("database_connection_pool_limit", 1..=1000, 10) as usize,
        pool_wait: general.time("database_connection_timeout", 1..=600, five),
        connect_timeout: general.time("database_connect_timeout", 1..=600, five),
        query_timeout: general.time("database_socket_timeout", 1..=600, five),
    }
}

/// The configured URL, else `DATABASE_URL`, else LiteLLM's separate variables, else the embedded store.
fn url(reader: &Reader<'_>, general: &Section<'_>) -> Secret {
    if let Some(field) = general.field("database_url") {
        let url = field.secret().map(|url| understood(reader, url.expose()));
        return match url {
            Some(Ok(url)) => url,
            Some(Err(why)) => {
                field.mistake(why);
                EMBEDDED.into()
            }
            None => EMBEDDED.into(),
        };
    }
    let Some(url) = reader.environment.variable("DATABASE_URL") else {
        return from_parts(reader).unwrap_or_else(|| EMBEDDED.into());
    };
    understood(reader, &url).unwrap_or_else(|why| {
        reader.mistake("DATABASE_URL", None, why);
        EMBEDDED.into()
    })
}

/// Parameters that LiteLLM's database client knows and PostgreSQL's protocol does not.
const CLIENT_PARAMETERS: [&str; 6] =
    ["connection_limit", "pgbouncer", "pool_timeout", "schema", "socket_timeout", "statement_cache_size"];

/// The URL as the store takes it.
fn understood(reader: &Reader<'_>, text: &str) -> Result<Secret, &'static str> {
    if let Some(path) = text.strip_prefix("sqlite://") {
        return if path.is_empty() { Err("names no file: write sqlite://portcullis.db") } else { Ok(text.into()) };
    }
    if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
        return Err("expected postgresql://... or sqlite://path");
    }
    let mut url =
        Url::parse(text).map_err(|_| "not a valid URL; characters such as # in a password must be encoded")?;
    if url.query_pairs().any(|(name, schema)| name == "schema" && schema != "public") {
        return Err("a schema other than public is not supported");
    }
    let (dropped, kept): (Vec<_>, Vec<_>) =
        url.query_pairs().into_owned().partition(|(name, _)| CLIENT_PARAMETERS.contains(&name.as_str()));
    if !dropped.is_empty() {
        url.query_pairs_mut().clear().extend_pairs(kept);
        let names: Vec<_> = dropped.iter().map(|(name, _)| name.as_str()).collect();
        reader.notice(format!("parameters of the database URL that are left out: {}", names.join(", ")));
    }
    let text = url.as_str().trim_end_matches('?');
    if text.parse::<tokio_postgres::Config>().is_err() {
        return Err("not a URL of PostgreSQL, or one with a parameter that is not supported");
    }
    Ok(text.into())
}

/// `DATABASE_HOST`, `DATABASE_USERNAME`, `DATABASE_PASSWORD`, `DATABASE_NAME`, as LiteLLM puts them together.
fn from_parts(reader: &Reader<'_>) -> Option<Secret> {
    let variable = |name: &str| reader.environment.variable(name);
    let (host, database) = (variable("DATABASE_HOST")?, variable("DATABASE_NAME")?);
    let user = reader.environment.first(&["DATABASE_USERNAME", "DATABASE_USER"])?.1;
    let mut url = Url::parse("postgresql://localhost").expect("static URL");
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (host.as_str(), None),
    };
    let placed = url.set_host(Some(name)).is_ok()
        && url.set_port(port).is_ok()
        && url.set_username(&user).is_ok()
        && url.set_password(variable("DATABASE_PASSWORD").as_deref()).is_ok();
    url.set_path(&database);
    if !placed {
        reader.mistake("DATABASE_HOST", None, "expected a name or an address");
    }
    Some(url.as_str().into())
}

/// Reads the cache's sizes and times.
pub(super) fn read_cache(general: &Section<'_>, own: &Section<'_>) -> CacheSettings {
    let section = own.section("cache", &Known::NOTHING_ELSE);
    let default = CacheSettings::default();
    CacheSettings {
        ttl: general.time("user_api_key_cache_ttl", 0..=86_400, default.ttl),
        max_keys: general.whole("user_api_key_cache_max_size", 1..=100_000_000, default.max_keys),
        unknown_ttl: section.time("unknown_ttl", 0..=3_600, default.unknown_ttl),
        max_unknown: section.whole("max_unknown", 1..=100_000_000, default.max_unknown),
        max_stale: section.time("max_stale", 0..=86_400, default.max_stale),
    }
}
