//! Where the management API is, one request to it and its answer, or a sentence on why there is none.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use portcullis_filters::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use serde_json::Value;
use url::Host;

/// How long one request may take in all.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often a request is sent that can be repeated without doing its work twice.
const TRIES: u32 = 3;

/// Where the proxy is, and how it is spoken to.
#[derive(Args, Clone, Debug)]
pub(super) struct Connection {
    /// Where the proxy is.
    #[arg(long, env = "PORTCULLIS_URL", default_value = "http://127.0.0.1:4000", global = true, value_name = "URL")]
    url: Url,
    /// The master key; better given in the environment than on the command line. LITELLM_MASTER_KEY is read too.
    #[arg(long, env = "PORTCULLIS_MASTER_KEY", hide_env_values = true, global = true, value_name = "KEY",
        value_parser = secret)]
    key: Option<Secret>,
    #[arg(long, env = "LITELLM_MASTER_KEY", hide_env_values = true, hide = true, global = true, value_parser = secret)]
    litellm_master_key: Option<Secret>,
    /// Print the proxy's answer as JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Connection {
    /// Says so where the master key would go over a network unencrypted.
    pub(super) fn warn(&self) -> Result<()> {
        if in_the_clear(&self.url) {
            let mut err = std::io::stderr();
            writeln!(err, "warning: the master key goes to another machine unencrypted; use https")
                .context("printing")?;
        }
        Ok(())
    }

    /// The API under the master key that was given.
    pub(super) fn open(self) -> Result<Api> {
        let key = self.key.or(self.litellm_master_key).filter(|key| !key.expose().is_empty());
        let Some(key) = key else { bail!("no master key: set PORTCULLIS_MASTER_KEY or give --key") };
        Api::new(self.url, key)
    }
}

/// The key that was meant: the argument, or for `-` the next line of standard input.
pub(super) fn typed(argument: &Secret, input: &mut dyn BufRead) -> Result<Secret> {
    if argument.expose() != "-" {
        return Ok(argument.clone());
    }
    let mut line = String::new();
    input.read_line(&mut line).context("reading the key from standard input")?;
    let key = line.trim_end_matches(['\r', '\n']);
    if key.is_empty() { bail!("standard input holds no key") } else { Ok(key.into()) }
}

/// Whether somebody between here and there could read the master key.
pub(super) fn in_the_clear(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "http" && !here
}

/// What others chose, without control characters, which a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(text.into())
}

/// The management API at one address.
pub(super) struct Api {
    client: Client,
    base: Url,
    credential: HeaderValue,
}

impl Api {
    /// Nothing is connected yet.
    pub(super) fn new(base: Url, key: Secret) -> Result<Self> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            bail!("--url must be http://host or https://host");
        }
        // Fails only if a provider is installed already, and then that one is used.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut credential =
            HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| anyhow!("--key is not a key"))?;
        credential.set_sensitive(true);
        // A redirect would carry the master key to wherever the answer points.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(DEADLINE).build();
        Ok(Self { client: client.context("starting the HTTP client")?, base, credential })
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        self.answer(self.client.get(self.at(path)?).query(query)).await.map_err(Failure::report)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.answer(self.client.post(self.at(path)?).json(body)).await.map_err(Failure::report)
    }

    /// A POST whose answer must not be lost: it is repeated under one idempotency key, so that its work is done once.
    pub(super) async fn post_once(&self, path: &str, body: &Value) -> Result<Value> {
        let idempotency_key = random_hex()?;
        let mut tries = 0;
        loop {
            let request = self.client.post(self.at(path)?).json(body).header("idempotency-key", &idempotency_key);
            tries += 1;
            match self.answer(request).await {
                Err(Failure::Lost(_)) if tries < TRIES => {}
                outcome => return outcome.map_err(Failure::report),
            }
        }
    }

    fn at(&self, path: &str) -> Result<Url> {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        Ok(url)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let lost = |error: reqwest::Error| {
            Failure::Lost(anyhow::Error::new(error.without_url()).context(format!("no answer from {}", self.origin())))
        };
        let response = request.header(AUTHORIZATION, self.credential.clone()).send().await.map_err(lost)?;
        let status = response.status();
        let text = response.text().await.map_err(lost)?;
        let body: Option<Value> = serde_json::from_str(&text).ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            Some(body) => Err(Failure::Refused(status, reason(&body))),
            None => Err(Failure::Refused(status, format!("{} is not a management API", self.origin()))),
        }
    }

    /// The address without what might be secret in it.
    fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}

/// Why a request has no answer that counts.
enum Failure {
    /// Whether it was carried out is not known.
    Lost(anyhow::Error),
    /// The proxy said no.
    Refused(StatusCode, String),
}

impl Failure {
    fn report(self) -> anyhow::Error {
        match self {
            Self::Lost(error) => error,
            Self::Refused(status, reason) => anyhow!("{reason} (HTTP {})", status.as_u16()),
        }
    }
}

/// The sentence in any of the three shapes that errors come in.
fn reason(body: &Value) -> String {
    let fields = body["detail"].as_array().map(|problems| {
        let each = problems.iter().map(|problem| {
            let loc = problem["loc"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
            format!("{}: {}", loc.join("."), problem["msg"].as_str().unwrap_or("refused"))
        });
        each.collect::<Vec<_>>().join("; ")
    });
    let text = body["error"]["message"].as_str().or_else(|| body["detail"].as_str()).map(str::to_owned);
    fields.or(text).unwrap_or_else(|| "refused".to_owned())
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
