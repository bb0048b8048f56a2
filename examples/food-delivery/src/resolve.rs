//! Connections to a callee: names are resolved by the system (`getaddrinfo`) and kept for a
//! short time, so that a burst of new connections is not a burst of DNS queries.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an answer is used. Cluster addresses of a Service rarely change, and a failed
/// connection asks again at once.
const KEEP: Duration = Duration::from_secs(30);
/// A peer on the same network accepts within this time or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

struct Known {
    addresses: Vec<SocketAddr>,
    until: Instant,
}

/// Opens TCP connections to one callee.
#[derive(Clone)]
pub struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    host: String,
    port: u16,
    known: Mutex<Option<Known>>,
}

impl Connector {
    /// A connector to `host:port`; nothing is resolved yet.
    pub fn new(host: &str, port: u16) -> Self {
        Self { inner: Arc::new(Inner { host: host.to_owned(), port, known: Mutex::new(None) }) }
    }
}

impl Inner {
    async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.as_ref().filter(|k| k.until > Instant::now()) {
                return Ok(known.addresses.clone());
            }
        }
        let looked_up = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match looked_up {
            Ok(found) => {
                let addresses: Vec<_> = found.collect();
                *known = Some(Known { addresses: addresses.clone(), until: Instant::now() + KEEP });
                Ok(addresses)
            }
            // A dead DNS server must not take the callee down with it: the old answer still serves.
            Err(error) => known.as_ref().map(|k| k.addresses.clone()).ok_or(error),
        }
    }

    fn forget_age(&self) {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            known.until = Instant::now();
        }
    }

    async fn connect(&self, addresses: Vec<SocketAddr>) -> std::io::Result<TokioIo<TcpStream>> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let addresses = inner.addresses().await?;
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, inner.connect(addresses))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            if connected.is_err() {
                inner.forget_age();
            }
            connected
        })
    }
}
