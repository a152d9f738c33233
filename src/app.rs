//! The composition root: the only file that constructs things and names concrete types. Read it as a list.
//!
//! Two worlds share the process. Pingora's runtime moves requests; the *control* runtime does everything else: database,
//! management listener, reload, stop. What Pingora's side asks of the control side is always a spawned task there, never
//! a borrowed connection.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use portcullis_admin_api::AdminState;
use portcullis_filters::authn::failures::{FailureSettings, FailureThrottle};
use portcullis_filters::authn::jwt::proof::used::{MAX_USED, UsedProofs};
use portcullis_filters::cache::KeyCache;
use portcullis_filters::limits::{Limits, SharedCounters};
use reqwest::redirect;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, oneshot, watch};

use crate::background::key_sets::KeySets;
use crate::background::nodes::Nodes;
use crate::background::notices::Notices;
use crate::background::settle::Settling;
use crate::background::{admin, announce, reload, stop};
use crate::config::{Loaded, Overrides, Settings, UsageSettings};
use crate::explain::Explainer;
use crate::live::{CustomMakings, GateLogouts, Makings, TokenMakings};
use crate::proxy::bound::Bound;
use crate::proxy::connection::Edge;
use crate::proxy::management::Management;
use crate::proxy::upstream::Resolver;
use crate::proxy::{Gateway, Live, body::BodyMemory};
use crate::shared_counters::RedisCounters;
use crate::store::Store;
use crate::telemetry::{self, Log, Telemetry};
use crate::usage::Journal;

/// Where the configuration came from, so that it can be read again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file named on the command line.
    pub path: Option<PathBuf>,
    /// What the command line says besides.
    pub overrides: Overrides,
}

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// An address is taken, a certificate cannot be read, the embedded store cannot be opened. Nothing is served then.
pub fn serve(source: Source, loaded: Loaded) -> Result<()> {
    let log = telemetry::start(&loaded.settings.telemetry).context("starting the log")?;
    let served = serve_with(source, loaded, log.clone());
    log.flush();
    served
}

fn serve_with(source: Source, loaded: Loaded, log: Log) -> Result<()> {
    let settings = loaded.settings;
    announce::findings(&loaded.warnings, &loaded.notices);
    announce::unpriced(&settings);
    // Pingora installs the same provider when it first needs one; PostgreSQL's connection may come earlier.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data_socket = bind(&settings.listen.data.to_string())?;

    let control = control_runtime()?;
    let (stopping, stopped) = watch::channel(false);
    let cache = Arc::new(KeyCache::new(settings.cache.clone()));
    let store = Store::open(settings.store.clone(), Arc::clone(&cache), control.handle().clone())?;
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&cache), log.clone(), &settings.telemetry)?);

    let makings = Makings {
        keys: store.keys(),
        cache,
        failures: Arc::new(FailureThrottle::new(FailureSettings::default())),
        custom: CustomMakings::new(control.handle().clone(), Arc::clone(&telemetry.custom)),
        tokens: token_makings(&store, &control)?,
        stored_master_key: Arc::default(),
    };
    let live = Arc::new(ArcSwap::from_pointee(makings.live(&settings)));
    let gate = Arc::new(ArcSwap::new(Arc::clone(&live.load().gate)));
    let rules = Arc::new(ArcSwap::from_pointee(makings.key_rules(&settings.keys, &settings.master_keys)));

    let body_memory = BodyMemory::new(usize::try_from(settings.http.max_buffered_bytes)?);
    let limits = limits(&settings, &control)?;
    let resolver = Arc::new(Resolver::new());
    let address = data_socket.local_addr().map_or_else(|_| settings.listen.data.to_string(), |at| at.to_string());
    let nodes = Arc::new(Nodes::new(store.clone(), limits.clone(), &address));
    let settling = Arc::new(settling(&settings.usage, &store, &limits)?);
    let deployments = Arc::clone(&live);
    let served = Arc::clone(&live);
    let state = AdminState {
        store: store.admin(),
        reports: store.reports(),
        gate: Arc::clone(&gate),
        rules: Arc::clone(&rules),
        deployments: Arc::new(move || deployments.load().deployments()),
        models: Arc::new(move || Arc::clone(&served.load().served)),
        logout_tokens: Arc::new(GateLogouts(Arc::clone(&gate))),
        explainer: Arc::new(Explainer {
            live: Arc::clone(&live),
            limits: limits.clone(),
            resolver: Arc::clone(&resolver),
        }),
    };
    let router = portcullis_admin_api::router(state);
    let active = Arc::new(AtomicUsize::new(0));
    let gateway = Gateway {
        live: Arc::clone(&live),
        management: Management::new(router.clone(), portcullis_admin_api::routes::table(), body_memory.clone()),
        telemetry: Arc::clone(&telemetry),
        resolver,
        body_memory,
        limits,
        journal: Arc::clone(&settling.journal),
        active: Arc::clone(&active),
    };

    let (starts, started) = oneshot::channel();
    let server = data_server(&settings, gateway, Arc::clone(&live), data_socket, starts)?;

    let admin_listener = settings.listen.admin.as_ref().map(|address| admin::bind(&address.to_string())).transpose()?;
    let metrics = admin::Metrics { telemetry, gate: Arc::clone(&gate), need_key: settings.telemetry.metrics_need_key };
    if let Some(listener) = admin_listener {
        control.spawn(admin::serve(listener, router, metrics, stopped.clone()));
    }
    let watched = store.clone();
    let watching = stopped.clone();
    control.spawn(async move { watched.watch(watching).await });
    control.spawn(Arc::clone(&settling).run());
    if let Some(notices) = &settings.notices {
        control.spawn(Notices::new(notices.clone(), store.clone())?.run());
    }
    let beating = Arc::clone(&nodes);
    control.spawn(async move { beating.run().await });
    let in_force = Arc::new(ArcSwap::from_pointee(settings.clone()));
    let reload = reload::Reload { source, makings, settings: in_force, live, gate, rules };
    control.spawn(announce::ready(settings.clone(), store, reload.clone(), started));
    control.spawn(reload.on_hangup());
    control.spawn(stop::when_drained(stopped, active, settings.http.stop_timeout, settling, nodes, log));

    server.run(RunArgs { shutdown_signal: Box::new(stop::Signals { stopping }) });
    Ok(())
}

/// The data listener, which begins to take connections when the server runs.
fn data_server(
    settings: &Settings,
    gateway: Gateway,
    live: Arc<ArcSwap<Live>>,
    socket: TcpListener,
    starts: oneshot::Sender<()>,
) -> Result<Server> {
    let mut server = Server::new_with_opt_and_conf(None, server_conf(settings));
    server.bootstrap();
    let mut proxy = http_proxy(&server.configuration, gateway);
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(settings.http.keep_alive);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(h2_options());
    let edge = Edge::new(proxy, live, settings.http.max_connections);
    let mut data = Service::new("data".to_owned(), edge);
    listen(&mut data, settings)?;
    server.add_service(Bound::new(data, settings.listen.data.to_string(), socket, starts)?);
    Ok(server)
}

/// What is counted, with the nodes that share it or without.
fn limits(settings: &Settings, control: &Runtime) -> Result<Limits> {
    let shared = match &settings.redis {
        Some(redis) => {
            let counters = RedisCounters::new(redis).context("portcullis.redis")?;
            control.spawn(counters.clone().run());
            Some(Arc::new(counters) as Arc<dyn SharedCounters>)
        }
        None => None,
    };
    Ok(Limits::new(settings.cache.ttl + settings.cache.max_stale, shared))
}

fn settling(settings: &UsageSettings, store: &Store, limits: &Limits) -> Result<Settling> {
    let path = &settings.journal;
    let journal = Journal::open(path).with_context(|| format!("opening the journal of usage, {}", path.display()))?;
    Ok(Settling {
        journal: Arc::new(journal),
        store: store.clone(),
        limits: limits.clone(),
        keep_calls: settings.keep_calls,
        posting: Mutex::default(),
    })
}

fn token_makings(store: &Store, control: &Runtime) -> Result<TokenMakings> {
    // A redirect would let whoever answers choose whose keys count, and carry tokens to where they do not belong.
    let client = reqwest::Client::builder().redirect(redirect::Policy::none()).build();
    let client = client.context("starting the HTTP client for issuers")?;
    Ok(TokenMakings {
        key_sets: Arc::new(KeySets::new(client.clone(), control.handle().clone())),
        client,
        control: control.handle().clone(),
        deny_list: store.deny_list(),
        used_proofs: Arc::new(UsedProofs::new(MAX_USED, SystemTime::now())),
        directory: store.directory(),
    })
}

/// The store alone, for commands that need no proxy.
///
/// # Errors
/// As [`Store::open`].
pub fn open_store(settings: &Settings, control: &Runtime) -> Result<Store> {
    let cache = Arc::new(KeyCache::new(settings.cache.clone()));
    Store::open(settings.store.clone(), cache, control.handle().clone())
}

/// The runtime of everything that is not a request.
///
/// # Errors
/// The system gives no threads.
pub fn control_runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("starting the control runtime")
}

fn server_conf(settings: &Settings) -> ServerConf {
    ServerConf {
        threads: settings.listen.threads,
        grace_period_seconds: Some(settings.http.stop_timeout.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: 1024,
        // A request may try each deployment once, and once more where a pooled connection had just been closed.
        max_retries: 2 * (settings.routing.num_retries as usize + 1),
        ..ServerConf::default()
    }
}

/// HTTP/2's first windows of 64 KiB would hold a large prompt to some 640 KB/s at a round trip of 100 ms.
fn h2_options() -> H2Options {
    let mut options = default_h2_options();
    options.initial_window_size(512 * 1024).initial_connection_window_size(2 * 1024 * 1024);
    options
}

fn listen(data: &mut Service<Edge>, settings: &Settings) -> Result<()> {
    let address = settings.listen.data.to_string();
    let Some(files) = &settings.listen.tls else {
        data.add_tcp(&address);
        return Ok(());
    };
    let (cert, key) = (files.cert.to_string_lossy(), files.key.to_string_lossy());
    let mut tls = TlsSettings::intermediate(&cert, &key).context("portcullis.listen.tls")?;
    tls.enable_h2();
    data.add_tls_with_settings(&address, None, tls);
    Ok(())
}

/// Taken before anything is made; what is bound here is what the data listener answers on.
fn bind(address: &str) -> Result<TcpListener> {
    let mut addresses = address.to_socket_addrs().with_context(|| format!("looking up {address}"))?;
    let first = addresses.next().with_context(|| format!("{address} has no address"))?;
    TcpListener::bind(first).with_context(|| format!("listening on {first}"))
}

/// How long the process waits for a store that should answer at once, before it goes on without.
pub(crate) const STORE_AT_START: Duration = Duration::from_secs(2);
