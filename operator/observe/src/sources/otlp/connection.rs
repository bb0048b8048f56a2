//! Accepted connections: bounded in number, in all and of one peer, with the peer's address for the service. Who connects and
//! says nothing loses the place again.

use crate::sources::{Counters, Fate, SourceName};
use futures::Stream;
use ipnet::IpNet;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// The address at the other end, in a request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Who has sent nothing for so long after connecting is not waited for.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// Connections of each peer that has any.
#[derive(Clone, Default)]
struct OfPeers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl OfPeers {
    fn enter(&self, peer: IpAddr, most: usize) -> Option<OfPeer> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(peer).or_default();
        (*count < most).then(|| {
            *count += 1;
            OfPeer { all: self.clone(), peer }
        })
    }
}

/// One of the connections of a peer.
struct OfPeer {
    all: OfPeers,
    peer: IpAddr,
}

impl Drop for OfPeer {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

/// A connection that gives its places back when it ends.
pub struct Connection {
    stream: TcpStream,
    peer: Peer,
    /// Until its first bytes have come.
    silent: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
    _of_peer: OfPeer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.silent = None;
        } else if let Some(silent) = &mut self.silent
            && silent.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was sent")));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Places {
    /// In all.
    pub all: usize,
    /// Of one peer that is no forwarder.
    pub of_peer: usize,
    /// Who sends for many others.
    pub forwarders: Vec<IpNet>,
}

impl Places {
    fn of(&self, peer: IpAddr) -> usize {
        let peer = peer.to_canonical();
        if self.forwarders.iter().any(|net| net.contains(&peer)) { self.all } else { self.of_peer }
    }
}

/// Accepts for ever; connections above `places` are closed at once and counted.
pub fn accept(
    listener: TcpListener,
    places: Places,
    counters: Arc<Counters>,
) -> impl Stream<Item = io::Result<Connection>> {
    let free = Arc::new(Semaphore::new(places.all));
    let state = (listener, places, free, OfPeers::default(), counters);
    futures::stream::unfold(state, |(listener, places, free, peers, counters)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let of_peer = peers.enter(address.ip(), places.of(address.ip()));
                    let place = Arc::clone(&free).try_acquire_owned();
                    let (Some(of_peer), Ok(place)) = (of_peer, place) else {
                        counters.add(SourceName::Otlp, Fate::TooManyConnections, 1);
                        continue;
                    };
                    // Answers are a few bytes; without this they would wait for more to send.
                    drop(stream.set_nodelay(true));
                    let connection = Connection {
                        stream,
                        peer: Peer(address.ip()),
                        silent: Some(Box::pin(tokio::time::sleep(FIRST_BYTES))),
                        _place: place,
                        _of_peer: of_peer,
                    };
                    return Some((Ok(connection), (listener, places, free, peers, counters)));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: without a pause this would spin until one is free.
                    tracing::warn!(%error, "OTLP receiver could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    })
}
