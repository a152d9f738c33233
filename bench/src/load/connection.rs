//! One connection with one or more requests at a time: takes tickets, sends, reads, checks, and connects again where it ended.

use super::pace::{Ticket, Tickets};
use super::recorder::Recorder;
use super::{HttpVersion, LoadPlan};
use crate::message::{Wrong, now_nanos};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// How long to wait before connecting again to a target that refused.
const RECONNECT: Duration = Duration::from_millis(10);

/// All of 127.0.0.0/8 is this machine, so a connection may come from any of it.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);

/// A place for one request at a time.
pub(super) struct Lane {
    plan: Arc<LoadPlan>,
    tickets: Arc<Tickets>,
    recorder: Arc<Mutex<Recorder>>,
    shared: Arc<SharedHttp2>,
    uri: Uri,
    host: HeaderValue,
}

/// What the lanes of one HTTP/2 connection have in common.
type SharedHttp2 = tokio::sync::Mutex<Option<http2::SendRequest<Full<Bytes>>>>;

/// The sending half of a connection.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Lane {
    /// Starts the lanes of one connection.
    pub(super) fn spawn_all(
        tasks: &mut JoinSet<std::io::Result<()>>,
        plan: &Arc<LoadPlan>,
        tickets: &Arc<Tickets>,
        recorder: &Arc<Mutex<Recorder>>,
    ) {
        let shared = Arc::new(SharedHttp2::default());
        let lanes = match plan.version {
            HttpVersion::Http1 => 1,
            HttpVersion::Http2 { streams } => streams,
        };
        for _ in 0..lanes {
            let (uri, host) = address(plan);
            let lane = Lane {
                plan: plan.clone(),
                tickets: tickets.clone(),
                recorder: recorder.clone(),
                shared: shared.clone(),
                uri,
                host,
            };
            tasks.spawn(lane.run());
        }
    }

    async fn run(self) -> std::io::Result<()> {
        let mut sender = None;
        while let Some(ticket) = self.tickets.take().await {
            let exchange = self.exchange(&mut sender, ticket);
            let outcome = tokio::time::timeout(self.plan.answer_timeout, exchange).await.unwrap_or(Err(Wrong::Late));
            if outcome.is_err() {
                sender = None;
            }
            self.tickets.count_answer();
            self.recorder()?.answer(ticket, outcome);
        }
        Ok(())
    }

    /// Sends the request of this ticket and reads its answer. Leaves a sender that can be used again, or none.
    async fn exchange(&self, sender: &mut Option<Sender>, ticket: Ticket) -> Result<(), Wrong> {
        let mut ready = match sender.take() {
            Some(open) => open,
            None => self.connected().await,
        };
        if ready.ready().await.is_err() {
            // Closed by the target between two requests, as it may.
            ready = self.connected().await;
        }
        let request = self.request(ticket.number);
        let response = ready.send(request).await.map_err(|_| Wrong::Unanswered)?;
        self.read(response, ticket).await?;
        *sender = Some(ready);
        Ok(())
    }

    fn request(&self, number: u64) -> Request<Full<Bytes>> {
        let (name, value) = self.plan.caller.header(number);
        let mut request = Request::new(Full::new(self.plan.shape.body(number)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        if self.plan.version == HttpVersion::Http1 {
            headers.insert(HOST, self.host.clone());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(name, value);
        request
    }

    async fn read(&self, response: Response<Incoming>, ticket: Ticket) -> Result<(), Wrong> {
        let (plan, status) = (&self.plan, response.status().as_u16());
        let sent_bytes = (!plan.rewrites).then(|| plan.shape.body_bytes());
        let mut reader = plan.shape.reader(ticket.number, sent_bytes);
        let mut body = response.into_body();
        let mut last_event = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Wrong::Cut)?;
            let Some(piece) = frame.data_ref() else { continue };
            let mut sent = Vec::new();
            reader.read(piece, |stamp| sent.push(stamp.sent_nanos));
            if plan.shape.streams() && status == 200 {
                self.record_events(ticket, &sent, &mut last_event);
            }
        }
        if status != plan.expected {
            return Err(Wrong::Status(status));
        }
        if status == 200 { reader.finish() } else { Ok(()) }
    }

    /// Events that arrived together, just now.
    fn record_events(&self, ticket: Ticket, sent: &[u64], last_event: &mut Option<Instant>) {
        let (now, now_nanos) = (Instant::now(), now_nanos());
        let Ok(mut recorder) = self.recorder() else { return };
        for sent in sent {
            let gap = last_event.replace(now).map(|last| now - last);
            recorder.event(ticket, now, Duration::from_nanos(now_nanos.saturating_sub(*sent)), gap);
        }
    }

    /// A new connection, as soon as the target takes one.
    async fn connected(&self) -> Sender {
        loop {
            match self.connect().await {
                Ok(sender) => return sender,
                Err(_) => tokio::time::sleep(RECONNECT).await,
            }
        }
    }

    async fn connect(&self) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
        if self.plan.version == HttpVersion::Http1 {
            let (sender, connection) = http1::handshake(open(&self.plan).await?).await?;
            tokio::spawn(connection);
            return Ok(Sender::Http1(sender));
        }
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Sender::Http2(sender.clone()));
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), open(&self.plan).await?).await?;
        tokio::spawn(connection);
        *shared = Some(sender.clone());
        Ok(Sender::Http2(sender))
    }

    fn recorder(&self) -> std::io::Result<std::sync::MutexGuard<'_, Recorder>> {
        self.recorder.lock().map_err(|_| std::io::Error::other("another lane panicked"))
    }
}

impl Sender {
    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

async fn open(plan: &LoadPlan) -> std::io::Result<TokioIo<TcpStream>> {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let stream = if plan.addresses > 1 {
        let number = OPENED.fetch_add(1, Ordering::Relaxed) % plan.addresses;
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + number), 0).into())?;
        socket.connect(plan.target).await?
    } else {
        TcpStream::connect(plan.target).await?
    };
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// What requests are addressed to: the path alone in HTTP/1.1, all of it in HTTP/2.
fn address(plan: &LoadPlan) -> (Uri, HeaderValue) {
    let host = plan.target.to_string();
    let value = HeaderValue::try_from(&host).expect("an address is printable");
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = plan.shape.path().try_into().ok();
    if plan.version != HttpVersion::Http1 {
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Authority::try_from(host).ok();
    }
    (Uri::from_parts(parts).expect("a path, alone or with scheme and authority"), value)
}
