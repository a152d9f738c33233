//! The operator's Python function, in worker processes of its own.
//!
//! What stands here is the proxy's side: it describes a request, hands it to [`pool`] on the control runtime, and waits. What
//! must stay true: whatever the function does costs the requests that wait for it and nothing else; only what it explicitly
//! gives is an answer; and nobody waits longer than the time-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_filters::authn::custom::{CustomAnswer, CustomAuthenticator, CustomRequest, CustomUnavailable, Verdict};
use portcullis_filters::secret::Secret;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::UnenforcedLimits;
use crate::config::PythonSettings;
use crate::telemetry::CustomMetrics;

mod log;
mod pool;
mod process;

use pool::{Event, Job, Pool};

/// The processes, and who waits for them. The processes end when the last of these is gone.
pub struct PythonPool {
    settings: PythonSettings,
    events: mpsc::Sender<Event>,
    next: AtomicU64,
    unenforced: UnenforcedLimits,
}

impl PythonPool {
    /// Starts the processes on `control`; until one is ready requests wait.
    #[must_use]
    pub fn start(settings: PythonSettings, metrics: Arc<CustomMetrics>, control: &Handle) -> Arc<Self> {
        let room = settings.queue + settings.workers * settings.concurrency;
        let (events, received) = mpsc::channel(2 * room + 64);
        control.spawn(Pool::new(settings.clone(), metrics).run(received));
        Arc::new(Self { settings, events, next: AtomicU64::new(0), unenforced: UnenforcedLimits::default() })
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &PythonSettings {
        &self.settings
    }

    /// Has the processes replaced one after the other, so that they read the function's file again. Where the new ones cannot
    /// start, the old ones stay.
    pub fn renew(&self) {
        if self.events.try_send(Event::Renew).is_err() {
            tracing::warn!("the workers of custom authentication are too busy to be replaced; send SIGHUP again");
        }
    }

    async fn ask(&self, request: CustomRequest<'_>) -> Result<CustomAnswer, CustomUnavailable> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answered) = oneshot::channel();
        let job = Job::new(describe(id, &request), request.credential.map(Secret::from), reply);
        self.events.try_send(Event::Ask(id, Box::new(job))).map_err(|_| OVERLOADED)?;
        let _waiting = Waiting { id, events: &self.events };
        let mut answer = answered.await.map_err(|_| CustomUnavailable("the workers have ended"))?.and_then(|json| {
            // One reader for all who answer in this form.
            CustomAnswer::read(&json, request.credential)
        })?;
        self.unenforced.notice(&answer);
        // That somebody is not known may change at any time; what was proven was configured to hold.
        answer.keep = self.settings.keep.clone().filter(|_| matches!(answer.verdict, Verdict::Proven(_)));
        Ok(answer)
    }
}

impl CustomAuthenticator for PythonPool {
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

pub(super) const OVERLOADED: CustomUnavailable = CustomUnavailable("as many requests wait for the function as may");

/// Says that nobody waits any more, however that came.
struct Waiting<'a> {
    id: u64,
    events: &'a mpsc::Sender<Event>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Where there is no room for it, the time-out says the same.
        let _ = self.events.try_send(Event::Left(self.id));
    }
}

/// The request as the worker reads it. Header fields are bytes; Latin-1 carries each as a character.
fn describe(id: u64, request: &CustomRequest<'_>) -> Vec<u8> {
    let head = request.head;
    let latin_1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| json!([name.as_str(), latin_1(value.as_bytes())])).collect();
    let body = request.body.map(|body| BASE64_STANDARD.encode(body));
    let message = json!({
        "kind": "request",
        "id": id,
        "method": head.method.as_str(),
        "path": head.path.as_str(),
        "query": head.query.unwrap_or_default(),
        "headers": headers,
        "source": head.source.map(|source| source.to_string()),
        "credential": request.credential,
        "body": body,
    });
    process::frame(&message)
}
