//! The configuration file of one service, read once at start.
//!
//! It is mounted from a `ConfigMap`. A file that cannot be read or understood ends the process
//! before it listens, so that a bad change is seen at the next start and never half applied.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::roles::Role;

/// Where the file is mounted in a pod.
pub const DEFAULT_PATH: &str = "/etc/food-delivery/config.json";

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be opened.
    #[error("cannot read the configuration file {path}: {source}; mount it or pass --config")]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not the JSON object that is expected.
    #[error("configuration file {path} is broken: {source}; correct it and start again")]
    Parse {
        /// The file that was read.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A value is missing or out of range.
    #[error("configuration file {path} is refused: {problem}")]
    Invalid {
        /// The file that was read.
        path: PathBuf,
        /// The field and what is wrong with it.
        problem: String,
    },
}

/// Settings of one service. Every field has a default except the addresses of its callees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Address of the business and probe paths.
    pub listen: SocketAddr,
    /// Address of the fault switch.
    pub admin: SocketAddr,
    /// Folder of the SQLite file; used by services that have a store.
    pub data: PathBuf,
    /// Callee name to `host:port`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub callees: BTreeMap<String, String>,
    /// Rows kept per table; the oldest beyond it are deleted.
    pub max_rows: i64,
    /// Requests worked on at once; more are answered 503.
    pub max_in_flight: usize,
    /// How long the service still answers after SIGTERM before it stops listening, so that
    /// callers are told first.
    pub lame_duck_milliseconds: u64,
    /// Largest number of items on one ticket (Kitchen only).
    pub kitchen_items: usize,
    /// Amounts above it are declined, in cents (payment provider only).
    pub decline_above_cents: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin: SocketAddr::from(([0, 0, 0, 0], 8081)),
            data: PathBuf::from("/data"),
            callees: BTreeMap::new(),
            // 100 orders a second for 83 minutes; about 100 MB per table.
            max_rows: 500_000,
            max_in_flight: 1024,
            lame_duck_milliseconds: 1000,
            kitchen_items: 50,
            decline_above_cents: 40_000,
        }
    }
}

impl Config {
    /// Reads and checks the file for one role.
    pub fn load(path: &Path, role: Role) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self = serde_json::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        config.check(role).map_err(|problem| ConfigError::Invalid { path: path.to_owned(), problem })?;
        Ok(config)
    }

    /// How long the service still answers after SIGTERM.
    pub fn lame_duck(&self) -> Duration {
        Duration::from_millis(self.lame_duck_milliseconds)
    }

    fn check(&self, role: Role) -> Result<(), String> {
        for callee in role.callees() {
            let address = self
                .callees
                .get(callee.name())
                .ok_or_else(|| format!("callees.{} is missing; write \"host:port\"", callee.name()))?;
            split_address(address)
                .ok_or_else(|| format!("callees.{} is \"{address}\"; write \"host:port\"", callee.name()))?;
        }
        if self.max_rows < 1000 {
            return Err(format!("maxRows is {}; at least 1000 rows are kept", self.max_rows));
        }
        if self.max_in_flight == 0 {
            return Err("maxInFlight is 0; the service could answer nothing".to_owned());
        }
        if self.lame_duck_milliseconds > 2000 {
            return Err(format!(
                "lameDuckMilliseconds is {}; at most 2000, so that the process ends within 5 s of SIGTERM",
                self.lame_duck_milliseconds
            ));
        }
        Ok(())
    }
}

/// Splits `host:port`; `None` when it is not one.
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    (!host.is_empty()).then_some((host, port))
}
