//! Where pages read the newest forecasts.

use homeostat_knowledge::ForecastRecord;
use std::fmt;
use std::sync::Arc;

type Read = dyn Fn() -> Vec<Arc<Vec<ForecastRecord>>> + Send + Sync;

/// The newest forecasts, whoever makes them; nothing where nobody does.
#[derive(Clone, Default)]
pub struct ForecastSource(Option<Arc<Read>>);

impl ForecastSource {
    /// Read anew for each page; must not wait.
    pub fn new(read: impl Fn() -> Vec<Arc<Vec<ForecastRecord>>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Calls `with` with all of them, by workload and signal.
    pub(crate) fn read<T>(&self, with: impl FnOnce(&[&ForecastRecord]) -> T) -> T {
        let parts = self.0.as_ref().map(|read| read()).unwrap_or_default();
        let mut all: Vec<&ForecastRecord> = parts.iter().flat_map(|part| part.iter()).collect();
        all.sort_by(|one, other| (&one.workload, &one.signal).cmp(&(&other.workload, &other.signal)));
        with(&all)
    }
}

impl fmt::Debug for ForecastSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ForecastSource").field(&self.0.is_some()).finish()
    }
}
