//! The HTTP/1.1 server: accept, serve, and end without failing a request.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections open at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// After this time a connection without a complete request head is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// When listening stops, connections that the kernel has already accepted are served, not reset:
/// listening ends once none came for `QUIET`, at the latest after `LAST_CALL`.
const LAST_CALL: Duration = Duration::from_millis(200);
const QUIET: Duration = Duration::from_millis(10);
/// What running requests get to finish once listening has stopped.
const DRAIN: Duration = Duration::from_millis(1900);

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; is another process using the port?")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens a listening socket.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves `router` until `stop` becomes true, then finishes running requests (bounded).
/// `started` is logged with the first accepted connection when given.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    started: Option<Instant>,
) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut first = started;
    let mut last_call = None;
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop), if last_call.is_none() => {
                last_call = Some(Instant::now() + LAST_CALL);
                continue;
            }
            () = quiet(last_call) => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: not worth ending for.
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        if let Some(started) = first.take() {
            let milliseconds = started.elapsed().as_secs_f64() * 1e3;
            tracing::info!(milliseconds, "first connection accepted");
        }
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A broken connection is the caller's affair; its requests are ended by their guards.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still running when the time to finish them was over");
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // The semaphore is never closed, so a permit always comes.
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// After the last call: over when nobody came for a moment, or at its end.
async fn quiet(last_call: Option<Instant>) {
    match last_call {
        Some(end) => tokio::time::sleep(QUIET.min(end.saturating_duration_since(Instant::now()))).await,
        None => pending().await,
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        pending::<()>().await;
    }
}
