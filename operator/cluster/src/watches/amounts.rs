//! CPU and memory as containers and nodes write them.

use super::light::null_is_empty;
use crate::ledger::{in_bytes, in_millis};
use homeostat_crds::Quantity;
use homeostat_knowledge::records::{Amounts, Memory};
use serde::Deserialize;

/// The parts of a container's spec that are looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Container {
    #[serde(default)]
    pub name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    resources: Resources,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Resources {
    #[serde(default, deserialize_with = "null_is_empty")]
    requests: Pair,
    #[serde(default, deserialize_with = "null_is_empty")]
    limits: Pair,
}

impl Resources {
    /// Requests; a limit without a request is the request, as the API server has it.
    pub fn requests(&self) -> Amounts {
        let (asked, limit) = (self.requests.amounts(), self.limits.amounts());
        Amounts {
            cpu_millis: asked.cpu_millis.or(limit.cpu_millis),
            memory_bytes: asked.memory_bytes.or(limit.memory_bytes),
        }
    }

    /// Limit of CPU, in thousandths of a core.
    pub fn cpu_limit(&self) -> Option<u64> {
        self.limits.amounts().cpu_millis
    }

    /// Limit of memory, in bytes.
    pub fn memory_limit(&self) -> Option<u64> {
        self.limits.amounts().memory_bytes
    }

    /// Limit of ephemeral storage, in bytes.
    pub fn ephemeral_storage_limit(&self) -> Option<u64> {
        self.limits.ephemeral_storage.as_ref().and_then(in_bytes)
    }
}

/// CPU, memory and ephemeral storage as quantities.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Pair {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
    #[serde(rename = "ephemeral-storage")]
    ephemeral_storage: Option<Quantity>,
}

impl Pair {
    /// CPU and memory in whole units; `None` where it is not said or not readable.
    pub fn amounts(&self) -> Amounts {
        Amounts {
            cpu_millis: self.cpu.as_ref().and_then(in_millis),
            memory_bytes: self.memory.as_ref().and_then(in_bytes),
        }
    }
}

impl Container {
    /// Request and limit of memory.
    pub fn memory(&self) -> Memory {
        Memory {
            request: self.resources.requests.amounts().memory_bytes,
            limit: self.resources.memory_limit(),
        }
    }

    /// Limit of CPU, in thousandths of a core.
    pub fn cpu_limit(&self) -> Option<u64> {
        self.resources.cpu_limit()
    }

    /// Limit of ephemeral storage.
    pub fn ephemeral_storage_limit(&self) -> Option<u64> {
        self.resources.ephemeral_storage_limit()
    }

    /// Requests.
    pub fn requests(&self) -> Amounts {
        self.resources.requests()
    }
}

/// Requests of all containers together.
pub(crate) fn total(containers: impl Iterator<Item = Amounts>) -> Amounts {
    let containers: Vec<Amounts> = containers.collect();
    let sum = |of: fn(&Amounts) -> Option<u64>| {
        let said: Vec<u64> = containers.iter().filter_map(of).collect();
        (!said.is_empty()).then(|| said.iter().fold(0, |sum: u64, one| sum.saturating_add(*one)))
    };
    Amounts { cpu_millis: sum(|one| one.cpu_millis), memory_bytes: sum(|one| one.memory_bytes) }
}
