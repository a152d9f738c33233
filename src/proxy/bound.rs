//! The data listener's address: taken once, before anything else is made, and never let go.
//!
//! Pingora binds late, on a thread of its own, and goes on trying when it cannot. Had somebody else taken the address by then,
//! this process would call itself ready while that one answers. So Pingora is given a socket that listens already, in the way
//! in which it takes one over from its predecessor.

use std::net::TcpListener;
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as Start;
use pingora::services::listening::Service;
use tokio::sync::oneshot;

/// A service and the socket that it is to listen on.
pub struct Bound<A> {
    service: Service<A>,
    address: String,
    socket: Option<TcpListener>,
    starts: Option<oneshot::Sender<()>>,
}

impl<A> Bound<A> {
    /// `address` is the one that `service` was told to listen on, and `socket` listens on it; `starts` is told when the
    /// service begins to accept connections.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn new(
        service: Service<A>,
        address: String,
        socket: TcpListener,
        starts: oneshot::Sender<()>,
    ) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { service, address, socket: Some(socket), starts: Some(starts) })
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Start for Bound<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        if let (Some(fds), Some(socket)) = (&fds, self.socket.take()) {
            fds.lock().add(self.address.clone(), socket.into_raw_fd());
        }
        if let Some(starts) = self.starts.take() {
            // Nobody waits for it where the announcement has ended.
            let _ = starts.send(());
        }
        self.service.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(vec![self.address.clone()])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pingora::protocols::Stream;
    use pingora::server::Fds;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;

    use super::*;

    struct Greets;

    #[async_trait]
    impl ServerApp for Greets {
        async fn process_new(self: &Arc<Self>, mut session: Stream, _: &ShutdownWatch) -> Option<Stream> {
            session.write_all(b"ours").await.unwrap();
            None
        }
    }

    #[tokio::test]
    async fn an_address_is_nobody_elses_from_the_first_look_at_it_to_the_last_answer() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let mut service = Service::new("greets".to_owned(), Greets);
        service.add_tcp(&address);
        let (starts, started) = oneshot::channel();
        let mut bound = Bound::new(service, address.clone(), socket, starts).unwrap();
        assert!(TcpListener::bind(&address).is_err(), "somebody else would answer for us");
        // One that comes before the service runs is answered by it.
        let mut early = TcpStream::connect(&address).await.unwrap();
        let (_stop, stopping) = watch::channel(false);
        let fds = ListenFds::new(Fds::new().into());
        tokio::spawn(async move { bound.start_service(Some(fds), stopping, 1).await });
        started.await.unwrap();
        for client in [&mut early, &mut TcpStream::connect(&address).await.unwrap()] {
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "ours");
        }
        assert!(TcpListener::bind(&address).is_err());
    }
}
