//! Guards, the ledger and the actions; may refuse, never choose.
//!
//! Reading path: [`actions`] (what can be done, and what each action needs), [`guards`] (what must hold
//! before an effect), [`ledger`] (the life of one action as a pure state machine), [`invariants`] (what must
//! never happen, checked in tests and in production), [`ports`] (what the outside must provide) and
//! [`driver`] (the order of it all for one action: guards, durable intent, claim, fresh read, effect, verify).
//! [`asking`] is what a person approves, [`lookback`] what is remembered of earlier actions, [`lowering`] takes trust back
//! from what keeps failing, [`election`] has the rules behind the lease, [`skew`] compares clocks. [`facts`] gathers what the
//! guards look at: among it the [`history`] of actions, the [`roots`] and [`places`] of a storm, and the [`orders`] behind runs;
//! [`changes`] wakes who waits for one.
//!
//! Everything but the driver is pure. The API server, the clock and the lease come in through [`ports`].

pub mod actions;
pub mod asking;
pub mod changes;
pub mod driver;
pub mod election;
pub mod facts;
pub mod guards;
pub mod history;
pub mod invariants;
pub mod ledger;
pub mod lookback;
pub mod lowering;
pub mod orders;
pub mod places;
pub mod ports;
pub mod roots;
pub mod skew;
#[cfg(test)]
mod testing;
mod witnesses;

pub use actions::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict};
pub use changes::{Changes, Follower};
pub use driver::{ExecuteError, Executor, ExecutorConfig, Ports};
pub use guards::{GuardInput, evaluate, permitted};
pub use history::ActionHistory;
pub use invariants::{Breach, Checker, Invariant};
pub use ledger::{LedgerError, LedgerEvent, outcome_unknown};
pub use places::Place;
pub use ports::{
    Acknowledged, Actuator, EffectError, FreshTarget, Leadership, Ledger, LedgerStoreError, ReadError,
    Recorder, Refusal,
};
pub use roots::{Root, RootHistory};
