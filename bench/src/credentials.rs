//! Looks for credentials where they must not be: what authenticated a client never reaches an upstream, a log, a metric, an error
//! body or a file, and a provider's key is seen by that provider alone, in its own slot.
//!
//! A credential is searched for as it is, percent-encoded, and inside base64 at each of the three alignments.

use crate::provider::RecordedRequest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use std::collections::BTreeMap;
use std::path::Path;

/// Where a provider takes its key.
const PROVIDER_SLOTS: [&str; 4] = ["authorization", "api-key", "x-api-key", "x-goog-api-key"];
/// A shorter string would be found by accident.
const SHORTEST: usize = 8;

/// Whose credential it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Client,
    Provider,
}

/// The credentials of one test and the search for them. Its `Debug` shows how many there are.
#[derive(Clone, Default)]
pub struct Credentials {
    /// By the credential: what it is, and the forms to search for.
    known: BTreeMap<String, (Whose, Vec<Vec<u8>>)>,
}

/// A credential in a place where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The first characters of the credential.
    pub credential: String,
    /// Where it was found.
    pub place: String,
}

impl Credentials {
    /// Adds what a client authenticates with.
    ///
    /// # Panics
    ///
    /// When it is too short to be told from other text.
    pub fn client(&mut self, credential: &str) {
        self.add(Whose::Client, credential);
    }

    /// Adds a key that the gateway presents to a provider.
    ///
    /// # Panics
    ///
    /// When it is too short to be told from other text.
    pub fn provider(&mut self, credential: &str) {
        self.add(Whose::Provider, credential);
    }

    /// Adds what stands in a configuration: `master_key` as a client's credential, each `api_key` as a provider's. References
    /// (`os.environ/..`, `file:..`) are not credentials.
    pub fn configuration(&mut self, yaml: &str) {
        for line in yaml.lines() {
            let Some((key, value)) = line.trim().trim_start_matches("- ").split_once(": ") else { continue };
            let value = value.trim().trim_matches(['"', '\'']);
            let referred = value.starts_with("os.environ/") || value.starts_with("file:");
            match key {
                "master_key" if !referred && value.len() >= SHORTEST => self.client(value),
                "api_key" if !referred && value.len() >= SHORTEST => self.provider(value),
                _ => {}
            }
        }
    }

    /// Searches text or bytes that nobody's credential may be in.
    pub fn search(&self, place: &str, bytes: &[u8]) -> Vec<Leak> {
        self.found_in(bytes, |_| true)
            .into_iter()
            .map(|credential| Leak { credential, place: place.to_owned() })
            .collect()
    }

    /// Searches every file below `directory` except those with that file name.
    ///
    /// # Errors
    ///
    /// When a directory or file cannot be read.
    pub fn search_files(&self, directory: &Path, except: &str) -> std::io::Result<Vec<Leak>> {
        let mut leaks = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                leaks.extend(self.search_files(&path, except)?);
            } else if path.is_file() && path.file_name().is_none_or(|name| name != except) {
                leaks.extend(self.search(&path.display().to_string(), &std::fs::read(&path)?));
            }
        }
        Ok(leaks)
    }

    /// Searches what reached a provider: clients' credentials anywhere, providers' keys anywhere but in a provider's slot.
    pub fn search_requests(&self, requests: &[RecordedRequest]) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for request in requests {
            let place = |what: &str| format!("request {} at the provider, {what}", request.number);
            leaks.extend(self.search(&place("path"), request.path.as_bytes()));
            let query = request.query.as_deref().unwrap_or_default();
            let in_slot = |pair: &&str| pair.starts_with("key=");
            leaks.extend(
                query.split('&').filter(in_slot).flat_map(|pair| self.search_clients(&place("query"), pair.as_bytes())),
            );
            let other = query.split('&').filter(|pair| !in_slot(pair));
            leaks.extend(other.flat_map(|pair| self.search(&place("query"), pair.as_bytes())));
            for (name, value) in &request.headers {
                let place = place(&format!("header {name}"));
                let slot = PROVIDER_SLOTS.iter().any(|slot| name.eq_ignore_ascii_case(slot));
                leaks.extend(if slot { self.search_clients(&place, value) } else { self.search(&place, value) });
            }
            leaks.extend(self.search(&place("body"), request.body.bytes.as_deref().unwrap_or_default()));
        }
        leaks
    }

    fn add(&mut self, whose: Whose, credential: &str) {
        assert!(credential.len() >= SHORTEST, "a credential of {} characters cannot be searched for", credential.len());
        self.known.insert(credential.to_owned(), (whose, forms(credential)));
    }

    fn search_clients(&self, place: &str, bytes: &[u8]) -> Vec<Leak> {
        let clients = self.found_in(bytes, |whose| whose == Whose::Client);
        clients.into_iter().map(|credential| Leak { credential, place: place.to_owned() }).collect()
    }

    fn found_in(&self, bytes: &[u8], counts: impl Fn(Whose) -> bool) -> Vec<String> {
        let searched = self.known.iter().filter(|(_, (whose, _))| counts(*whose));
        let found = searched.filter(|(_, (_, forms))| forms.iter().any(|form| memmem::find(bytes, form).is_some()));
        found.map(|(credential, _)| format!("{}...", credential.chars().take(6).collect::<String>())).collect()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.known.len())
    }
}

fn forms(credential: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![credential.as_bytes().to_vec()];
    let encoded: String = credential.bytes().map(percent_encoded).collect();
    if encoded != credential {
        forms.push(encoded.into_bytes());
    }
    for before in 0..3 {
        // Of the encoding, what depends on neither the bytes before the credential nor those after it.
        let padded = [&b"...\0"[..before], credential.as_bytes()].concat();
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            forms.push(engine.encode(&padded).as_bytes()[first..last].to_vec());
        }
    }
    forms
}

fn percent_encoded(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Leak};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    const KEY: &str = "sk-abc/def+123456";

    #[test]
    fn finds_a_credential_in_every_form() {
        let mut credentials = Credentials::default();
        credentials.client(KEY);
        let basic = |user: &str| STANDARD.encode(format!("{user}:{KEY}@"));
        for text in [format!("x{KEY}y"), "?key=sk-abc%2Fdef%2B123456".into(), basic(""), basic("u"), basic("us")] {
            let leak = Leak { credential: "sk-abc...".into(), place: "log".into() };
            assert_eq!(credentials.search("log", text.as_bytes()), [leak], "{text}");
        }
        assert_eq!(credentials.search("log", b"sk-abc/def+12345"), []);
    }

    #[test]
    fn reads_a_configuration() {
        let mut credentials = Credentials::default();
        credentials.configuration(
            "master_key: \"sk-master-1\"\n  - api_key: sk-provider-1\n  api_key: os.environ/OPENAI_KEY\n",
        );
        assert_eq!(credentials.search("", b"sk-master-1").len(), 1);
        assert_eq!(credentials.search("", b"sk-provider-1").len(), 1);
        assert_eq!(credentials.search("", b"os.environ/OPENAI_KEY"), []);
        assert!(!format!("{credentials:?}").contains("sk-"));
    }
}
