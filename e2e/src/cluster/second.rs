//! A second API server on the cluster's etcd, whose picture of the cluster can be made to stand still.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::components::{Components, RELAY, SECOND_APISERVER};
use super::control::Request;
use super::layout::{ETCD_RELAY, SECOND_API};
use super::{Cluster, ClusterError};

/// Both of its processes take connections within this time.
const LIMIT: Duration = Duration::from_mins(1);

/// A second API server and its way to etcd. Both end when this is dropped.
#[derive(Debug)]
pub struct SecondApiServer {
    cluster: Cluster,
    address: SocketAddr,
}

impl SecondApiServer {
    /// Starts it beside the first one; `program` is `e2e`. It takes connections then, and may not be ready yet.
    pub fn start(cluster: &Cluster, program: &Path) -> Result<Self, ClusterError> {
        let components = Components::new(cluster.layout(), cluster.tools(), false, false);
        // Made first, so that whatever was started ends also when the rest fails.
        let mut second = Self { cluster: cluster.clone(), address: SECOND_API };
        let control = cluster.control();
        control.start(components.etcd_relay(program.to_owned()))?;
        control.wait_tcp(ETCD_RELAY, LIMIT)?;
        control.start(components.second_apiserver())?;
        control.wait_tcp(SECOND_API, LIMIT)?;
        second.address = cluster.forward(SECOND_API)?;
        Ok(second)
    }

    /// Its address on the host's loopback.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked to change.
    pub fn audit_log(&self) -> PathBuf {
        self.cluster.layout().second_audit_log()
    }

    /// Holds up its way to etcd, or lets it go on. Meanwhile it answers from its watch cache, which stays as it is; what
    /// must be asked of etcd gets no answer. For longer than half a minute it would notice and begin anew.
    pub fn cut_off(&self, held: bool) -> Result<(), ClusterError> {
        self.signal(RELAY, held)
    }

    /// Stops the server itself, or lets it go on. Meanwhile its watches stay open and tell nothing.
    pub fn freeze(&self, held: bool) -> Result<(), ClusterError> {
        self.signal(SECOND_APISERVER, held)
    }

    fn signal(&self, component: &str, held: bool) -> Result<(), ClusterError> {
        let signal = if held { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.cluster.signal_component(component, signal)
    }
}

impl Drop for SecondApiServer {
    fn drop(&mut self) {
        for component in [SECOND_APISERVER, RELAY] {
            if let Err(error) = self.cluster.control().ask(&Request::Stop(component.to_owned())) {
                tracing::warn!(%error, component, "It goes with the cluster");
            }
        }
    }
}
