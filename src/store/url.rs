//! Which database: the text of `database_url`, parsed once.
//!
//! Everything that can be wrong with the text is found here, so opening a store fails only for what the machine does.
//! A PostgreSQL URL holds a password: it stays a [`Secret`], and no error repeats any part of its value.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_filters::secret::Secret;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// Where the keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file of the embedded SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL connection URL, checked to be one.
    Postgres(Secret),
}

impl StoreUrl {
    /// `postgresql://..` or `postgres://..` as libpq and Prisma write it, `sqlite:///absolute/path`,
    /// `sqlite://relative/path`.
    ///
    /// # Errors
    /// What is wrong, in words that hold nothing of the URL's values.
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(StoreUrlError::NoFile);
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgresql://") || text.starts_with("postgres://") {
            PostgresTarget::parse(text)?;
            return Ok(Self::Postgres(Secret::from(text)));
        }
        Err(StoreUrlError::Scheme)
    }
}

/// Why a text is no [`StoreUrl`].
#[derive(Debug, thiserror::Error)]
pub enum StoreUrlError {
    /// Neither of the two databases.
    #[error("must begin with postgresql:// or sqlite://")]
    Scheme,
    /// SQLite without a file: its keys would end with the process, and every connection would have its own.
    #[error("sqlite:// needs the path of a file: sqlite:///absolute/path or sqlite://relative/path")]
    NoFile,
    /// `sslmode` is none of libpq's words that are supported.
    #[error("sslmode must be disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// Prisma's `sslidentity` or libpq's `sslkey`.
    #[error("client certificates ({0}) are not supported")]
    ClientCertificate(&'static str),
    /// The driver does not take the rest.
    #[error("not a PostgreSQL connection URL")]
    Postgres(#[source] tokio_postgres::Error),
}

/// A PostgreSQL URL, taken apart.
#[derive(Clone)]
pub(crate) struct PostgresTarget {
    pub(crate) config: Config,
    pub(crate) verify: Verify,
}

const SILENCE: Duration = Duration::from_secs(15);

/// What is checked of the server's certificate where TLS is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Nothing, as with libpq's `prefer` and `require`: safe from listeners, not from impostors.
    Nothing,
    /// Chain, validity and host name, against the machine's roots or those in the named PEM file.
    Everything { roots: Option<PathBuf> },
}

impl PostgresTarget {
    /// Reads what the driver does not know (`sslmode=verify-*`, `sslrootcert`, Prisma's parameters) and leaves the rest
    /// to it. Prisma's settings of its own pool and schema say nothing about this program and are passed over.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreUrlError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut passed_on = Vec::new();
        let (mut verifies, mut roots, mut encrypts) = (false, None, false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => match value {
                    "disable" | "prefer" | "require" => passed_on.push(pair),
                    "verify-ca" | "verify-full" => (verifies, encrypts) = (true, true),
                    _ => return Err(StoreUrlError::SslMode),
                },
                "sslrootcert" | "sslcert" => roots = decoded(value).map(PathBuf::from),
                "sslaccept" => verifies |= value == "strict",
                "sslidentity" => return Err(StoreUrlError::ClientCertificate("sslidentity")),
                "sslkey" => return Err(StoreUrlError::ClientCertificate("sslkey")),
                "schema"
                | "connection_limit"
                | "pool_timeout"
                | "socket_timeout"
                | "pgbouncer"
                | "statement_cache_size"
                | "sslpassword" => {}
                _ => passed_on.push(pair),
            }
        }
        let url = if passed_on.is_empty() { base.to_owned() } else { format!("{base}?{}", passed_on.join("&")) };
        let mut config: Config = url.parse().map_err(StoreUrlError::Postgres)?;
        // Verifying and falling back to plain text at once would verify nothing.
        if encrypts || (verifies && config.get_ssl_mode() == SslMode::Prefer) {
            config.ssl_mode(SslMode::Require);
        }
        // A network that breaks without a word is noticed within half a minute, whatever is waited for.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("portcullis");
        }
        let verify = if verifies || roots.is_some() { Verify::Everything { roots } } else { Verify::Nothing };
        Ok(Self { config, verify })
    }
}

fn decoded(value: &str) -> Option<String> {
    url::form_urlencoded::parse(format!("v={}", value.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, text)| text.into_owned())
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_slashes() {
        let path = |text| match StoreUrl::parse(text) {
            Ok(StoreUrl::Sqlite(path)) => path.to_str().map(str::to_owned),
            _ => None,
        };
        assert_eq!(path("sqlite:///var/lib/p.db").as_deref(), Some("/var/lib/p.db"));
        assert_eq!(path("sqlite://p.db").as_deref(), Some("p.db"));
        assert_eq!(path("sqlite://./data/p.db").as_deref(), Some("./data/p.db"));
        for refused in ["sqlite://", "sqlite://:memory:", "sqlite:p.db", "mysql://h/d", "p.db", ""] {
            assert_eq!(path(refused), None, "{refused}");
        }
    }

    #[test]
    fn urls_of_libpq_and_prisma_are_taken() {
        let verified = |roots: Option<&str>| Verify::Everything { roots: roots.map(PathBuf::from) };
        let cases = [
            ("postgresql://u:p@h:5433/d", SslMode::Prefer, Verify::Nothing),
            ("postgres://u:p@h/d?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("postgres://u:p@h/d?sslmode=require&connect_timeout=3", SslMode::Require, Verify::Nothing),
            ("postgres://u:p@h/d?sslmode=verify-full", SslMode::Require, verified(None)),
            (
                "postgres://u:p@h/d?sslmode=verify-ca&sslrootcert=/etc/a%20b.pem",
                SslMode::Require,
                verified(Some("/etc/a b.pem")),
            ),
            ("postgres://u:p@h/d?schema=public&connection_limit=10&pool_timeout=60", SslMode::Prefer, Verify::Nothing),
            ("postgres://u:p@h/d?sslaccept=strict", SslMode::Require, verified(None)),
            ("postgres://u:p@h/d?sslmode=require&sslaccept=accept_invalid_certs", SslMode::Require, Verify::Nothing),
        ];
        for (url, mode, verify) in cases {
            let target = PostgresTarget::parse(url).unwrap();
            assert_eq!((target.config.get_ssl_mode(), target.verify), (mode, verify), "{url}");
            assert!(matches!(StoreUrl::parse(url), Ok(StoreUrl::Postgres(_))), "{url}");
        }
    }

    #[test]
    fn a_password_shows_in_no_message() {
        for url in
            ["postgres://u:hunter2@h:port/d", "postgres://u:hunter2@h/d?sslmode=maybe", "postgres://u:hunter2@h/d?x=y"]
        {
            let error = StoreUrl::parse(url).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let shown = format!("{:?}", StoreUrl::parse("postgres://u:hunter2@h/d").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
