//! A TCP proxy through which everything comes late: the bytes of both directions, and the end of the connection.
//!
//! Connections are taken at once; only what is said on them is late.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Open connections, of two sockets each; more wait until they are taken.
const MOST_CONNECTIONS: usize = 480;
/// Bytes that are read at once.
const CHUNK: usize = 4 << 10;
/// Chunks under way on a connection, in each direction; whoever sends more waits.
const MOST_CHUNKS: usize = 16;

/// Passes connections on to `to`, each byte later by `delay`. Never returns.
pub async fn serve(listener: &TcpListener, to: SocketAddr, delay: Duration) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((near, _)) = listener.accept().await else {
            // Out of file descriptors: give the open connections a moment to end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(async move {
            // A refused or broken connection is seen by the caller as a closed one.
            let _broken = pass(near, to, delay).await;
            drop(place);
        });
    }
}

async fn pass(near: TcpStream, to: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    // The end of one direction is that of both: HTTP knows no half of a connection, and a caller that has given up would
    // keep its place here for twice as long.
    tokio::select! {
        ended = one_way(from_near, to_far, delay) => ended,
        ended = one_way(from_far, to_near, delay) => ended,
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let (late, mut due) = mpsc::channel(MOST_CHUNKS);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            // A broken connection ends as a closed one does: late.
            let count = from.read(&mut buffer).await.unwrap_or(0);
            let chunk = buffer.get(..count).unwrap_or_default().to_vec();
            if late.send((Instant::now() + delay, chunk)).await.is_err() || count == 0 {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((at, chunk)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The address of a proxy in front of a server that answers with what it got, and ends when it has all.
    async fn echo_behind(delay: Duration) -> SocketAddr {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (to, at) = (server.local_addr().unwrap(), proxy.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await.unwrap();
                });
            }
        });
        tokio::spawn(async move { serve(&proxy, to, delay).await });
        at
    }

    #[tokio::test]
    async fn an_answer_is_late_by_the_way_there_and_the_way_back() {
        let delay = Duration::from_millis(80);
        let mut client = TcpStream::connect(echo_behind(delay).await).await.unwrap();
        for word in [b"hello", b"again"] {
            let began = Instant::now();
            client.write_all(word).await.unwrap();
            let mut answer = [0; 5];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, word);
            assert!(began.elapsed() >= 2 * delay, "{:?}", began.elapsed());
        }
        let began = Instant::now();
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(began.elapsed() >= delay, "the end is late too: {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn more_than_may_be_under_way_waits_and_arrives_whole() {
        let client = TcpStream::connect(echo_behind(Duration::from_millis(2)).await).await.unwrap();
        let sent: Vec<u8> = (0..5 * CHUNK * MOST_CHUNKS).map(|index| (index % 251) as u8).collect();
        let (mut read, mut write) = client.into_split();
        let all = sent.clone();
        let writer = tokio::spawn(async move {
            write.write_all(&all).await.unwrap();
            write
        });
        let mut got = vec![0; sent.len()];
        read.read_exact(&mut got).await.unwrap();
        drop(writer.await.unwrap());
        assert!(got == sent, "other bytes arrived than were sent");
    }

    #[tokio::test]
    async fn a_callee_that_refuses_is_a_closed_connection() {
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = gone.local_addr().unwrap();
        drop(gone);
        let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = proxy.local_addr().unwrap();
        tokio::spawn(async move { serve(&proxy, to, Duration::from_mins(1)).await });
        let mut client = TcpStream::connect(at).await.unwrap();
        assert!(!matches!(client.read(&mut [0; 1]).await, Ok(1)));
    }
}
