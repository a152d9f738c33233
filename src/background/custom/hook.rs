//! A web hook that decides who is calling: asked on the control runtime, in one of three forms ([`form`]).
//!
//! What must stay true: credentials go to the configured address and nowhere else, so no redirect is followed; an answer is
//! bounded in time and size; a hook that fails lets nobody in and, when it keeps failing, is left alone for a while; and
//! nothing of question or answer reaches a log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_filters::authn::custom::{CustomAnswer, CustomAuthenticator, CustomRequest, CustomUnavailable};
use reqwest::{Client, Response, Url, redirect};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::UnenforcedLimits;
use crate::config::{HookAddress, HookSettings};

mod breaker;
mod form;

use breaker::Breaker;
use form::Question;

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// An idle connection is closed before most servers close it, or a question would be sent into one that just ended.
const IDLE: Duration = Duration::from_secs(20);

/// One hook.
pub struct Hook {
    settings: Arc<HookSettings>,
    /// `None`: the client cannot be made, so nobody comes in.
    client: Option<Client>,
    url: Url,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    control: Handle,
    unenforced: UnenforcedLimits,
}

impl Hook {
    /// Nothing is connected yet. Questions are asked on `control`.
    #[must_use]
    pub fn new(settings: HookSettings, control: Handle) -> Self {
        let builder = Client::builder().redirect(redirect::Policy::none()).pool_idle_timeout(IDLE);
        let (builder, url) = match &settings.address {
            HookAddress::Url(url) => (builder, url.clone()),
            HookAddress::Unix(path) => {
                (builder.no_proxy().unix_socket(path.clone()), Url::parse("http://hook/").expect("a literal URL"))
            }
        };
        let client = builder.build();
        if let Err(error) = &client {
            tracing::error!(cause = %error, "the HTTP client for the web hook cannot be made");
        }
        Self {
            client: client.ok(),
            url,
            places: Semaphore::new(settings.max_questions),
            breaker: Mutex::default(),
            settings: Arc::new(settings),
            control,
            unenforced: UnenforcedLimits::default(),
        }
    }

    async fn ask(&self, request: CustomRequest<'_>) -> Result<CustomAnswer, CustomUnavailable> {
        let client = self.client.clone().ok_or(CustomUnavailable("the HTTP client cannot be made"))?;
        let question = Question::new(&self.settings, &self.url, &request)
            .ok_or(CustomUnavailable("the request cannot be put to the hook"))?;
        let Ok(_place) = self.places.try_acquire() else {
            return Err(CustomUnavailable("as many questions are under way as may be"));
        };
        if !self.breaker().allows(Instant::now()) {
            return Err(CustomUnavailable("the hook failed too often lately"));
        }
        let settings = Arc::clone(&self.settings);
        let mut task = Task(self.control.spawn(async move { question.put(&client, settings.timeout).await }));
        // A client that leaves meanwhile says nothing for or against the hook.
        let answered = (&mut task.0).await.unwrap_or(Err(CustomUnavailable("the question was broken off")));
        let answer = answered.and_then(|(parts, body)| form::answer(&self.settings, &parts, &body, request.credential));
        if let Ok(answer) = &answer {
            self.unenforced.notice(answer);
        }
        let mut breaker = self.breaker();
        if answer.is_err() {
            breaker.failed(Instant::now())
        } else {
            breaker.succeeded()
        }
        answer
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CustomAuthenticator for Hook {
    fn authenticate<'a>(
        &'a self,
        request: CustomRequest<'a>,
    ) -> BoxFuture<'a, Result<CustomAnswer, CustomUnavailable>> {
        self.ask(request).boxed()
    }

    fn reads_body(&self) -> bool {
        self.settings.body
    }
}

/// What a hook answered: status and fields.
struct Parts {
    status: http::StatusCode,
    headers: http::HeaderMap,
}

impl Question {
    async fn put(self, client: &Client, deadline: Duration) -> Result<(Parts, Vec<u8>), CustomUnavailable> {
        let answered = async {
            // A connection that never stood has carried nothing, so a second try asks nothing twice.
            let response = match self.request(client).send().await {
                Err(error) if error.is_connect() => self.request(client).send().await,
                outcome => outcome,
            };
            read(response.map_err(|error| lost(&error))?).await
        };
        timeout(deadline, answered).await.unwrap_or(Err(CustomUnavailable("the hook does not answer in time")))
    }
}

async fn read(mut response: Response) -> Result<(Parts, Vec<u8>), CustomUnavailable> {
    let parts = Parts { status: response.status(), headers: response.headers().clone() };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(CustomUnavailable("the hook's answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((parts, body))
}

/// Why there is no answer, in a word: an error of the client may repeat the address with what is in it.
fn lost(error: &reqwest::Error) -> CustomUnavailable {
    let unreachable = error.is_connect();
    CustomUnavailable(if unreachable { "the hook cannot be reached" } else { "the hook's connection broke off" })
}

/// Ends with whoever waits for it, so that no more questions are under way than requests that asked them.
struct Task(JoinHandle<Result<(Parts, Vec<u8>), CustomUnavailable>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
