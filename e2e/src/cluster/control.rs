//! Requests to the supervisor: one JSON line each way over a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::components::Component;
use super::error::ClusterError;
use super::layout::Layout;

/// What the supervisor can be asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// What runs.
    Status,
    /// Start this component, or start it again under the same name.
    Start(Box<Component>),
    /// Start a component that was stopped.
    Resume(String),
    /// End a component and do not start it again.
    Stop(String),
    /// Wait until this address inside the network namespace takes connections.
    WaitTcp {
        /// The address.
        to: SocketAddr,
        /// How long to wait at most.
        milliseconds: u64,
    },
    /// Listen on the host's loopback and pass connections on to an address inside.
    Forward {
        /// The address inside.
        to: SocketAddr,
        /// The port outside; 0 chooses a free one.
        port: u16,
    },
}

/// The supervisor's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// Done.
    Done,
    /// The components by name.
    Status(Vec<ComponentStatus>),
    /// The chosen port on the host's loopback.
    Port(u16),
    /// Why not.
    Failed(String),
}

/// One component as the supervisor sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// Its process inside the cluster's PID namespace, if it runs.
    pub pid: Option<i32>,
    /// How often it ended by itself and was started again.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<String>,
    /// Resident memory in bytes, 0 if it does not run.
    pub rss_bytes: u64,
}

/// The near end of the control socket.
#[derive(Debug, Clone)]
pub struct Control {
    name: String,
    socket: PathBuf,
}

impl Control {
    /// Of the cluster with this layout.
    pub fn new(layout: &Layout) -> Self {
        Self { name: layout.name().to_owned(), socket: layout.control_socket() }
    }

    /// Sends one request and waits for its answer, for at most a minute.
    pub fn ask(&self, request: &Request) -> Result<Response, ClusterError> {
        let failed = || ClusterError::file("ask the supervisor at", &self.socket);
        let mut stream = UnixStream::connect(&self.socket).map_err(failed())?;
        stream.set_read_timeout(Some(Duration::from_mins(1))).map_err(failed())?;
        let mut line = serde_json::to_string(request)
            .map_err(|source| ClusterError::Json { path: self.socket.clone(), source })?;
        line.push('\n');
        stream.write_all(line.as_bytes()).map_err(failed())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(failed())?;
        match serde_json::from_str(&answer)
            .map_err(|source| ClusterError::Json { path: self.socket.clone(), source })?
        {
            Response::Failed(message) => Err(ClusterError::Supervisor { name: self.name.clone(), message }),
            response => Ok(response),
        }
    }

    /// [`Request::Start`].
    pub fn start(&self, component: Component) -> Result<(), ClusterError> {
        self.ask(&Request::Start(Box::new(component))).map(drop)
    }

    /// [`Request::WaitTcp`].
    pub fn wait_tcp(&self, to: SocketAddr, limit: Duration) -> Result<(), ClusterError> {
        self.ask(&Request::WaitTcp { to, milliseconds: limit.as_millis() as u64 }).map(drop)
    }

    /// [`Request::Forward`]: the port on the host's loopback.
    pub fn forward(&self, to: SocketAddr, port: u16) -> Result<u16, ClusterError> {
        match self.ask(&Request::Forward { to, port })? {
            Response::Port(port) => Ok(port),
            other => Err(self.unexpected(&other)),
        }
    }

    /// [`Request::Status`].
    pub fn status(&self) -> Result<Vec<ComponentStatus>, ClusterError> {
        match self.ask(&Request::Status)? {
            Response::Status(all) => Ok(all),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, response: &Response) -> ClusterError {
        ClusterError::Supervisor { name: self.name.clone(), message: format!("{response:?}, unexpectedly") }
    }
}
