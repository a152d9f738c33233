//! The floor: a Pingora proxy that does nothing but forward. What Portcullis costs above it is what Portcullis costs.
//!
//! Version, settings of the server, allocator and build profile are the gateway's own; only the decisions are missing.

use async_trait::async_trait;
use pingora::prelude::HttpPeer;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use std::net::SocketAddr;

/// Forwards every request to one address.
struct Passthrough {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Passthrough {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Forwards from `listen` to `upstream` with this many worker threads until a signal ends the process.
pub fn serve(listen: SocketAddr, upstream: SocketAddr, threads: usize) {
    let conf = ServerConf {
        threads,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Passthrough { upstream });
    proxy.add_tcp(&listen.to_string());
    server.add_service(proxy);
    server.run(RunArgs::default());
}

/// Which Pingora this is.
#[must_use]
pub fn version() -> String {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().unwrap_or_default();
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let pingora = packages.filter(|package| package.get("name").and_then(toml::Value::as_str) == Some("pingora"));
    let version = pingora.filter_map(|package| package.get("version")?.as_str()).next();
    format!("pingora {}", version.unwrap_or("of unknown version"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_the_version_that_is_locked() {
        let version = super::version();
        let number = version.strip_prefix("pingora ").unwrap();
        assert!(
            number.split('.').count() == 3 && number.starts_with(|first: char| first.is_ascii_digit()),
            "{version}"
        );
    }
}
