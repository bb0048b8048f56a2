//! TCP forwarding from the host's loopback into the network namespace. A socket belongs to the namespace
//! of the thread that made it: one thread stays outside to listen, all others connect inside.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

const CONNECT: Duration = Duration::from_secs(2);
const MOST_CONNECTIONS: usize = 4096;

type Answer = std::io::Result<TcpListener>;

/// Makes listeners on the host's loopback from inside another network namespace.
#[derive(Debug, Clone)]
pub struct Outside {
    requests: SyncSender<(u16, SyncSender<Answer>)>,
}

impl Outside {
    /// Starts the thread that stays in `namespace`, the host's network namespace.
    pub fn start(namespace: OwnedFd) -> Self {
        let (requests, inbox): (_, Receiver<(u16, SyncSender<Answer>)>) = sync_channel(16);
        thread::spawn(move || {
            let entered = setns(&namespace, CloneFlags::CLONE_NEWNET);
            for (port, reply) in inbox {
                let answer = entered
                    .map_err(std::io::Error::from)
                    .and_then(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
                // A requester that has gone needs no listener.
                let _ = reply.send(answer);
            }
        });
        Self { requests }
    }

    /// Passes connections to `port` on the host's loopback (0: a free one) on to `to`; returns the port.
    pub fn forward(&self, to: SocketAddr, port: u16) -> std::io::Result<u16> {
        let (reply, answer) = sync_channel(1);
        let gone = |_| std::io::Error::other("the listening thread has ended");
        self.requests
            .send((port, reply))
            .map_err(|_| std::io::Error::other("the listening thread has ended"))?;
        let listener = answer.recv().map_err(gone)??;
        let port = listener.local_addr()?.port();
        thread::spawn(move || serve(&listener, to));
        Ok(port)
    }
}

/// Passes connections to `from` on to `to`, both in the network namespace that this runs in, until the process ends. While
/// the process is stopped, connections stay open and nothing of them goes on.
pub fn relay(from: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    serve(&TcpListener::bind(from)?, to);
    Ok(())
}

fn serve(listener: &TcpListener, to: SocketAddr) {
    let open = Arc::new(AtomicUsize::new(0));
    for near in listener.incoming() {
        let Ok(near) = near else {
            // Out of file descriptors: give the open connections a moment to end.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if open.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(&open);
        thread::spawn(move || {
            // A refused or broken connection is seen by the caller as a closed one.
            let _ = pass(&near, to);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn pass(near: &TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let far = TcpStream::connect_timeout(&to, CONNECT)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| copy(near, &far));
        copy(&far, near);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let ended = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    if ended.is_err() {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_go_both_ways_and_the_end_is_passed_on() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        // Entering a network namespace needs root, even the one that the thread is already in.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let outside = Outside::start(File::open("/proc/self/ns/net").unwrap().into());
        let port = outside.forward(to, 0).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "HELLO");
        echo.join().unwrap();
    }
}
