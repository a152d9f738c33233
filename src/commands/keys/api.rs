//! One request to the management API and its answer, or a sentence on why there is none.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use portcullis_filters::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use serde_json::Value;

/// How long one request may take in all.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often a request is sent that can be repeated without doing its work twice.
const TRIES: u32 = 3;

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
