//! What pages show of incidents that this replica no longer has in memory: read where they are stored.

use crate::recent::Closed;
use homeostat_knowledge::{IncidentId, Name, Timestamp};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// An answer that comes later; an error says in words what was in the way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Incidents of a period.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Incidents with their actions; findings and history may be missing.
    pub incidents: Vec<Closed>,
    /// There are more than are given.
    pub cut: bool,
}

/// Reads stored incidents. Whoever implements it bounds what one answer takes.
pub trait Archive: Send + Sync {
    /// The incident of that name.
    fn incident(&self, id: IncidentId) -> Answer<'_, Option<Closed>>;

    /// The incidents that were recognised from `from` to before `to` in these namespaces; only those of `tenant` where one
    /// is named.
    fn period(
        &self,
        from: Timestamp,
        to: Timestamp,
        tenant: Option<Name>,
        namespaces: Vec<Name>,
    ) -> Answer<'_, Past>;
}

/// The archive, for one page at a time: each reads many objects, and anybody who reaches the pages may ask.
#[derive(Clone, Default)]
pub struct ArchiveSource {
    archive: Option<Arc<dyn Archive>>,
    one: Option<Arc<Semaphore>>,
}

impl ArchiveSource {
    /// Reads from `archive`. The default reads nothing.
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        Self { archive: Some(archive), one: Some(Arc::new(Semaphore::new(1))) }
    }

    /// The archive, if there is one; `Err` while another page is being read.
    pub(crate) fn enter(&self) -> Result<Option<(SemaphorePermit<'_>, &dyn Archive)>, Busy> {
        match (&self.archive, &self.one) {
            (Some(archive), Some(one)) => {
                one.try_acquire().map(|permit| Some((permit, &**archive))).map_err(|_| Busy)
            }
            _ => Ok(None),
        }
    }
}

/// Another page is being read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("another page is being read from the API server; ask again in a moment")]
pub(crate) struct Busy;
