//! Decisions in words.

use super::{Planner, Run, RunTime, Size, Source, State};
use jiff::{SignedDuration, Timestamp};
use std::fmt;

/// Why a run starts now, and with so much memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Why {
    /// Latest moment at which it, and what waits for it, would probably still be in time.
    pub latest: Timestamp,
    /// Time until then; negative: it will probably be late.
    pub slack: SignedDuration,
    /// Time kept before that for one more try, as runs of its program fail at times.
    pub spare: SignedDuration,
    /// When it must have ended.
    pub due: Timestamp,
    /// Time planned for it.
    pub time: RunTime,
    /// Where its memory comes from.
    pub memory: Source,
}

impl fmt::Display for Why {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latest, slack, spare, due, time, memory } = self;
        let (word, slack) = if slack.is_negative() { ("late", slack.abs()) } else { ("slack", *slack) };
        write!(
            to,
            "first in order: latest start {latest} ({:.0} s {word}), due {due}; ",
            slack.as_secs_f64()
        )?;
        if spare.is_positive() {
            write!(to, "{:.0} s kept for one more try; ", spare.as_secs_f64())?;
        }
        match time.runs {
            0 => write!(to, "planned {:.0} s, no run of its own yet; ", time.quantile)?,
            runs => write!(to, "planned {:.0} s from {runs} runs; ", time.quantile)?,
        }
        write!(to, "memory: {}", memory.words())
    }
}

/// Why a run is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// It failed too often.
    Retries {
        /// Tries.
        attempts: u32,
    },
    /// A run that it needs was given up.
    Needs(Run),
    /// There are too many runs.
    TooMany {
        /// The most.
        most: usize,
    },
}

impl fmt::Display for GaveUp {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retries { attempts } => {
                write!(to, "failed {attempts} times; read its log, then raise its retries or mend it")
            }
            Self::Needs(run) => write!(to, "the run of {} that it needs was given up", run.slot),
            Self::TooMany { most } => {
                write!(to, "{most} runs wait or run already, which is the planner's limit")
            }
        }
    }
}

impl Planner {
    /// What a run waits for, or that it runs; `None` when it is not known.
    pub fn explain(&self, run: Run) -> Option<String> {
        let live = self.live.get(&run)?;
        Some(match live.state {
            State::Announced => "announced, not there yet".to_owned(),
            State::Arrived => "arrived, not decided yet".to_owned(),
            State::Early => format!("its window begins {:#} after its slot", self.job(run.job)?.not_before),
            State::Shifted(at) => format!(
                "waits until {at}, {:.0} s after its slot: there the load in its start window is lowest; it goes before that \
                 when any run waits for room",
                at.duration_since(run.slot).as_secs_f64()
            ),
            State::PutOff(until) => format!("cannot be started now, and is tried again at {until:.0}"),
            State::Needs(needed) => {
                let announced = self.live.get(&needed).is_some_and(|live| live.state == State::Announced);
                let yet = if announced { ", whose Job is not there yet" } else { "" };
                format!("waits for {} of {}{yet}", self.job(needed.job)?.title(), needed.slot)
            }
            State::Ready(cpu, _) if cpu > self.capacity.millicores => format!(
                "needs {} vCPU, and all runs together have {} now; it keeps nobody waiting until there are more",
                Size { millicores: cpu, ..Size::default() }.vcpu(),
                self.capacity.vcpu()
            ),
            State::Ready(_, place) => format!(
                "waits for room behind {} more urgent runs; latest start {}",
                self.ready.before(&place),
                live.latest
            ),
            State::Parked(cpu, _) => self.parked_for(run, cpu, live.latest),
            State::Running(size) => format!("runs with {size}, try {}", live.attempt),
            State::Left => "left to its queue of Kueue".to_owned(),
        })
    }
}

impl Planner {
    /// Whether a run waits for nothing but its turn.
    pub fn is_ready(&self, run: Run) -> bool {
        self.live.get(&run).is_some_and(|live| matches!(live.state, State::Ready(..) | State::Parked(..)))
    }
}
