//! An own Pingora service with this admission in front and authentication code of its own: `embed LISTEN UPSTREAM`.
use std::{future::ready, sync::Arc, time::SystemTime};

use futures_util::future::{BoxFuture, FutureExt};
use pingora::{http::RequestHeader, prelude::*};
use portcullis_filters::authn::{Authenticators, Gate, custom::*};
use portcullis_filters::{answer::answer, endpoint::Dialect, head::RequestHead, path::CanonicalPath};

struct Own;
impl CustomAuthenticator for Own {
    fn authenticate<'a>(&'a self, asked: CustomRequest<'a>) -> BoxFuture<'a, Result<CustomAnswer, CustomUnavailable>> {
        let known = asked.credential == Some("tell-nobody");
        let said = if known { r#"{"outcome": "proven", "identity": {}}"# } else { r#"{"outcome": "not_mine"}"# };
        ready(CustomAnswer::read(said.as_bytes(), asked.credential)).boxed()
    }
}

struct Edge(Gate, String);
#[async_trait::async_trait]
impl ProxyHttp for Edge {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> Result<bool> {
        let http = session.req_header();
        let Ok(path) = CanonicalPath::parse(http.uri.path()) else {
            return session.respond_error(400).await.map(|()| true);
        };
        let head = RequestHead::new(&http.method, &path, http.uri.query(), &http.headers);
        let Err(denial) = self.0.authenticate(&head, SystemTime::now()).await else { return Ok(false) };
        let answer = answer(&denial, Dialect::OpenAi);
        session.respond_error_with_body(answer.status.as_u16(), answer.body).await.map(|()| true)
    }

    async fn upstream_request_filter(&self, _: &mut Session, out: &mut RequestHeader, _: &mut ()) -> Result<()> {
        self.0.slots.headers().for_each(|slot| drop(out.remove_header(slot))); // what let the client in goes no further
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.1.as_str(), false, String::new())))
    }
}

fn main() -> Result<()> {
    let [listen, upstream] = [1, 2].map(|n| std::env::args().nth(n).unwrap_or_default());
    let authenticators = Authenticators::default().with_custom(CustomChain::alone(Arc::new(Own)));
    let mut server = Server::new(None)?;
    server.bootstrap();
    let mut edge =
        http_proxy_service(&server.configuration, Edge(Gate { authenticators, ..Gate::default() }, upstream));
    edge.add_tcp(&listen);
    server.add_service(edge);
    server.run_forever()
}
