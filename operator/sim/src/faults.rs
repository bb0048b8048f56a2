//! What can go wrong, and where.

use crate::server::Stream;
use homeostat_knowledge::{ActionRecord, ActionState, WorkloadKey};

/// Requests to the API server, as they are told apart by where they stand in an action's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// Reading the kill switch.
    KillSwitch,
    /// Trying the effect without making it.
    DryRun,
    /// Creating the action.
    Create,
    /// Storing that a person must approve.
    Ask,
    /// Storing the intent.
    Intent,
    /// Claiming the action.
    Claim,
    /// Reading the target.
    FreshRead,
    /// Reading what else the effect needs, where it needs something: who else scales it, a revision, a Job.
    Look,
    /// The effect.
    Effect,
    /// Storing that the effect was taken.
    Acknowledge,
    /// Storing that its verification began.
    Watch,
    /// Storing an end.
    Close,
    /// Reading an action.
    ReadAction,
    /// Listing what is held, the kill switch with it.
    ListHeld,
    /// Releasing what is held for longer than it was to be.
    Release,
}

impl Request {
    /// What storing this record is.
    pub fn storing(record: &ActionRecord) -> Self {
        match record.state {
            ActionState::Proposed | ActionState::AwaitingApproval => Self::Ask,
            ActionState::Admitted => Self::Intent,
            ActionState::Claimed => Self::Claim,
            ActionState::Sent => Self::Acknowledge,
            ActionState::Verifying => Self::Watch,
            ActionState::Refused
            | ActionState::Verified
            | ActionState::Undone
            | ActionState::Failed
            | ActionState::Cancelled
            | ActionState::HandedOver => Self::Close,
        }
    }
}

/// Where in the process, beside its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before the first news of the illness is taken in.
    BeforeSeen,
    /// After it was taken in, before anything is decided.
    Seen,
    /// After the decision was handed to the driver.
    Decided,
}

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the n-th request of this kind, from 1.
    Nth(Request, u32),
    /// At the request with this number among all, from 1.
    Number(u32),
    /// At a place that is no request.
    Hook(Hook),
}

/// What happens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The process dies before the request leaves.
    CrashBefore,
    /// The request is carried out; the process dies before it has the reply.
    CrashReplyLost,
    /// The process has the reply and dies before its next request.
    CrashAfter,
    /// 409.
    Conflict,
    /// 429 with `Retry-After: 1`.
    TooManyRequests,
    /// 500: nothing was done, but the client cannot know.
    ServerError,
    /// 503: nothing was done, and the client can know.
    Unavailable,
    /// 403.
    Denied,
    /// No reply in time; carried out.
    TimeoutDone,
    /// No reply in time; not carried out.
    TimeoutLost,
    /// The read is answered from the past.
    Stale,
    /// No reply in time; carried out so many milliseconds after it arrived.
    Late(u64),
    /// Carried out when it arrives; the reply takes so many milliseconds, fewer than after which it is given up.
    Slow(u64),
    /// Something else happens just before the request is carried out.
    Meanwhile(Meddle),
}

/// A fault and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// What.
    pub what: What,
}

impl Fault {
    /// A fault at the n-th request of a kind.
    pub fn nth(request: Request, nth: u32, what: What) -> Self {
        Self { at: At::Nth(request, nth), what }
    }
}

/// Something that others do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meddle {
    /// Somebody else helps the workload, by replacing what is ill.
    SomebodyElse(WorkloadKey),
    /// The workload gets well by itself.
    Recover(WorkloadKey),
    /// The same, and for so many milliseconds no news of it arrive.
    RecoverUnseen(WorkloadKey, i64),
    /// The workload falls ill.
    FallIll(WorkloadKey),
    /// Another writer touches what the workload's action is about, without changing what matters.
    Touch(WorkloadKey),
    /// Nothing that is done helps the workload any more, or what is done helps again.
    Stubborn(WorkloadKey, bool),
    /// The present becomes the past that stale reads answer from.
    Remember,
    /// A watch delivers nothing for so many milliseconds.
    Freeze(Stream, i64),
    /// A watch loses its next event; it lists again five seconds later.
    Miss(Stream),
    /// Somebody writes the first object of a stream, so that its watch has an event.
    Stir(Stream),
    /// The watch log is compacted: every watch is told 410.
    Compact,
    /// The kill switch is engaged.
    Engage,
    /// The kill switch is released.
    Release,
    /// The `ControlPlane` object is deleted.
    DeleteSwitch,
    /// A person pauses the workload.
    Pause(WorkloadKey),
    /// A person lets automation go on.
    Unpause(WorkloadKey),
    /// A person pauses the tenant, or lets it go on.
    PauseTenant(&'static str, bool),
    /// A person sets the level of a tenant's actions: 1 Recommend, 2 Approve, 4 `ActFull`.
    SetLevel(&'static str, u8),
    /// A disruption budget forbids evictions of the workload's pods, or goes away.
    Protect(WorkloadKey, bool),
    /// A freeze window of so many seconds opens at the next full minute.
    Window(&'static str, i64),
    /// Windows are taken out of the tenant.
    NoWindows(&'static str),
    /// The workload's policy is deleted, or put back.
    Control(WorkloadKey, bool),
    /// The next plan for the first workload will name an object of the second.
    Confuse(WorkloadKey, WorkloadKey),
    /// Another replica takes the lease; the one before lives on.
    Depose,
    /// The process that leads stands still for so many milliseconds, and then goes on as if nothing had been.
    Stop(i64),
    /// The API server is gone for so many milliseconds: it answers no request, and no watch delivers anything.
    Away(i64),
    /// The process dies now.
    Crash,
}
