//! Which store keeps the keys, how patiently it is asked, and what is remembered of its answers.

use portcullis_filters::cache::CacheSettings;
use tokio_postgres::config::Host;
use url::Url;

use super::known::Known;
use super::reader::{Reader, Section};
use crate::store::{StoreSettings, StoreUrl};

const EMBEDDED: &str = "sqlite://portcullis.db";

pub(super) fn read(reader: &Reader<'_>, general: &Section<'_>, own: &Section<'_>) -> StoreSettings {
    let default = StoreSettings::new(url(reader, general));
    let section = own.section("store", &Known::NOTHING_ELSE);
    StoreSettings {
        pool_size: general.whole("database_connection_pool_limit", 1..=1000, default.pool_size as u64) as usize,
        lookup_timeout: section.time("lookup_timeout", 0..=60, default.lookup_timeout),
        admin_timeout: general.time("database_socket_timeout", 1..=600, default.admin_timeout),
        connect_timeout: general.time("database_connect_timeout", 1..=60, default.connect_timeout),
        ..default
    }
}

/// The configured URL, else `DATABASE_URL`, else LiteLLM's separate variables, else the embedded store.
fn url(reader: &Reader<'_>, general: &Section<'_>) -> StoreUrl {
    let url = match general.field_even_empty("database_url") {
        Some(field) => field.secret().and_then(|url| {
            let parsed = StoreUrl::parse(url.expose());
            parsed.map_err(|error| field.mistake(error.to_string())).ok()
        }),
        None => {
            let url = reader.environment.variable("DATABASE_URL").or_else(|| from_parts(reader));
            url.and_then(|url| {
                let parsed = StoreUrl::parse(&url);
                parsed.map_err(|error| reader.mistake("DATABASE_URL", None, error.to_string())).ok()
            })
        }
    };
    url.unwrap_or_else(|| StoreUrl::parse(EMBEDDED).expect("static URL"))
}

/// The URL as it may be shown: without user, password and parameters.
pub(super) fn shown(url: &StoreUrl) -> String {
    match url {
        StoreUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
        // The driver's own reading: any other could take a part of the password for a host or a port.
        StoreUrl::Postgres(text) => text.expose().split('?').next().map_or_else(String::new, shown_postgres),
    }
}

fn shown_postgres(url: &str) -> String {
    let Ok(config) = url.parse::<tokio_postgres::Config>() else { return "postgresql://...".to_owned() };
    let host = |(index, host): (usize, &Host)| {
        let name = match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let ports = config.get_ports();
        match ports.get(index).or(ports.first()) {
            Some(port) => format!("{name}:{port}"),
            None => name,
        }
    };
    let hosts: Vec<_> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("postgresql://{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// `DATABASE_HOST`, `DATABASE_USERNAME`, `DATABASE_PASSWORD`, `DATABASE_NAME`, as LiteLLM puts them together.
fn from_parts(reader: &Reader<'_>) -> Option<String> {
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
    Some(url.into())
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
