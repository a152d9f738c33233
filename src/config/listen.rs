//! Where the process listens: the data listener that clients use, and the admin listener that operators use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::known::Known;
use super::reader::{Reader, Section};
use super::{Overrides, scalar};

/// The sockets of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// Where clients connect; `portcullis.listen.data`, `--host` and `--port`.
    pub data: Address,
    /// Where operators connect: management, metrics, health. `None` if it is switched off.
    pub admin: Option<Address>,
    /// Whether LiteLLM's management paths are also served on the data listener.
    pub admin_on_data: bool,
    /// The certificate of the data listener; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Worker threads of the data listener.
    pub threads: usize,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A host (name or address) and a port to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The text is no address to listen on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port, for example 0.0.0.0:4000")]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress)?;
        let port = port.parse().map_err(|_| NotAnAddress)?;
        let host = host_of(host).ok_or(NotAnAddress)?;
        Ok(Self { host, port })
    }
}

/// A host without the brackets that an IPv6 address needs before a port.
fn host_of(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = inner {
        return inner.parse::<std::net::Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    name.then(|| text.to_owned())
}

/// Reads `portcullis.listen` and `portcullis.threads`, then lets the command line decide.
pub(super) fn read(reader: &Reader<'_>, own: &Section<'_>, directory: &Path, overrides: &Overrides) -> ListenSettings {
    let listen = own.section("listen", &Known::NOTHING_ELSE);
    let mut data = listen
        .field("data")
        .and_then(|field| field.parsed(str::parse))
        .unwrap_or(Address { host: "0.0.0.0".to_owned(), port: 4000 });
    if let Some(host) = &overrides.host {
        match host_of(host).or_else(|| host_of(&format!("[{host}]"))) {
            Some(host) => data.host = host,
            None => reader.mistake("--host", None, "expected a name or an address"),
        }
    }
    data.port = overrides.port.unwrap_or(data.port);
    let admin = match listen.field("admin") {
        None => Some(Address { host: "127.0.0.1".to_owned(), port: 4001 }),
        Some(field) if field.is_switched_off() => None,
        Some(field) => field.parsed(str::parse),
    };
    let separated = reader.environment.variable("DISABLE_ADMIN_ENDPOINTS").is_some_and(|word| is_true(&word));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    ListenSettings {
        data,
        admin,
        admin_on_data: listen.flag("admin_on_data", true) && !separated,
        tls: tls(&listen.section("tls", &Known::NOTHING_ELSE), directory),
        threads: overrides.threads.unwrap_or(own.whole("threads", 1..=1024, threads as u64) as usize),
    }
}

fn tls(section: &Section<'_>, directory: &Path) -> Option<TlsFiles> {
    let cert = section.text("cert").map(|path| directory.join(path));
    let key = section.text("key").map(|path| directory.join(path));
    match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            section.mistake("key", "is missing: cert needs its private key");
            None
        }
        (None, Some(_)) => {
            section.mistake("cert", "is missing: key needs its certificate");
            None
        }
    }
}

/// LiteLLM's reading of a variable that switches something on.
pub(super) fn is_true(word: &str) -> bool {
    scalar::truth(word).unwrap_or(word == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("0.0.0.0:4000", Some("0.0.0.0:4000")),
            ("localhost:0", Some("localhost:0")),
            ("[::1]:4000", Some("[::1]:4000")),
            ("::1:4000", None),
            ("4000", None),
            (":4000", None),
            ("host:70000", None),
            ("http://host:80", None),
        ] {
            assert_eq!(text.parse::<Address>().ok().map(|address| address.to_string()).as_deref(), shown, "{text}");
        }
    }
}
