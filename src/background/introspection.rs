//! Asks an issuer about opaque tokens: introspection (RFC 7662) or OpenID Connect's userinfo, on the control runtime.
//!
//! What must stay true: the token and our own credential go to the configured address and nowhere else, so no redirect is
//! followed; an answer is bounded in time and size; nothing of token, credential or answer reaches a log.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_filters::authn::jwt::claims::Claims;
use portcullis_filters::authn::opaque::{TokenInfo, TokenInfoUnavailable, answer};
use portcullis_filters::secret::Secret;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::form_urlencoded;

use crate::config::OpaqueKind;

/// For a question in all, the second try included.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// One address that can be asked. Cloning shares the connections.
#[derive(Clone)]
pub struct Endpoint {
    client: Client,
    url: Url,
    kind: OpaqueKind,
    deadline: Duration,
    control: Handle,
}

impl Endpoint {
    /// Nothing is connected yet. `client` must follow no redirect. Questions are asked on `control`.
    #[must_use]
    pub fn new(client: Client, url: Url, kind: OpaqueKind, deadline: Duration, control: Handle) -> Self {
        Self { client, url, kind, deadline, control }
    }

    async fn answer(self, token: Secret) -> Result<Option<Claims>, TokenInfoUnavailable> {
        let answered = async {
            // A connection that never stood has carried nothing, so a second try asks nothing twice.
            let response = match self.request(&token).send().await {
                Err(error) if error.is_connect() => self.request(&token).send().await,
                outcome => outcome,
            };
            self.read(response.map_err(|error| lost(&error))?).await
        };
        let late = Err(TokenInfoUnavailable("the issuer does not answer in time"));
        timeout(self.deadline, answered).await.unwrap_or(late)
    }

    fn request(&self, token: &Secret) -> RequestBuilder {
        match &self.kind {
            OpaqueKind::Introspection { client_id, client_secret } => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.append_pair("token", token.expose()).append_pair("token_type_hint", "access_token");
                let request = self.client.post(self.url.clone()).header(ACCEPT, "application/json");
                let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish());
                // Both are form-encoded before they are joined.
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                request.basic_auth(encoded(client_id), Some(encoded(client_secret.expose())))
            }
            OpaqueKind::Userinfo => {
                self.client.get(self.url.clone()).header(ACCEPT, "application/json").bearer_auth(token.expose())
            }
        }
    }

    async fn read(&self, response: Response) -> Result<Option<Claims>, TokenInfoUnavailable> {
        match (&self.kind, response.status()) {
            (OpaqueKind::Introspection { .. }, StatusCode::OK) => answer::introspection(&body(response).await?),
            (OpaqueKind::Userinfo, StatusCode::OK) => answer::userinfo(&body(response).await?),
            // All that it was sent is the token (RFC 6750, section 3.1).
            (OpaqueKind::Userinfo, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Ok(None)
            }
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(TokenInfoUnavailable("the issuer refuses our own client id or secret"))
            }
            (_, status) if status.is_redirection() => Err(TokenInfoUnavailable("the issuer answers with a redirect")),
            _ => Err(TokenInfoUnavailable("the issuer answers with another status than 200")),
        }
    }
}

impl TokenInfo for Endpoint {
    fn ask(&self, token: Secret) -> BoxFuture<'_, Result<Option<Claims>, TokenInfoUnavailable>> {
        let mut task = Task(self.control.spawn(self.clone().answer(token)));
        async move { (&mut task.0).await.unwrap_or(Err(TokenInfoUnavailable("the question was broken off"))) }.boxed()
    }
}

/// Ends with whoever waits for it, so that no more questions are under way than requests that asked them.
struct Task(JoinHandle<Result<Option<Claims>, TokenInfoUnavailable>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no answer, in a word: an error of the client may repeat the address with what is in it.
fn lost(error: &reqwest::Error) -> TokenInfoUnavailable {
    let cannot_connect = error.is_connect();
    TokenInfoUnavailable(if cannot_connect {
        "the issuer cannot be reached"
    } else {
        "the issuer's connection broke off"
    })
}

/// The body, up to the bound.
async fn body(mut response: Response) -> Result<Vec<u8>, TokenInfoUnavailable> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(TokenInfoUnavailable("the issuer's answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
