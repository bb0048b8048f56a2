//! The ledger in the API server, and the hands: how actions are stored, and how effects are sent.

mod actuator;
mod budgets;
mod diff;
mod hands;
mod mapping;
mod runs;
mod store;
mod write;

pub use actuator::ApiActuator;
pub(crate) use hands::{release, unmarked};
pub use mapping::{NotOurs, record, spec, status};
pub(crate) use mapping::{in_bytes, in_millis, unread};
pub use store::ApiLedger;

#[cfg(test)]
pub(crate) use mapping::tests;

use crate::elector::Leadership;

impl homeostat_execute::ports::Leadership for Leadership {
    fn leads(&self) -> bool {
        Leadership::leads(self)
    }

    async fn lost(&self) {
        let mut leadership = self.clone();
        while leadership.leads() {
            leadership.changed().await;
        }
    }
}
