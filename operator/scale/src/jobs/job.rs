//! What is declared of a job.

use crate::size::Size;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How much it matters that a run is in time. Moves a run forward or back in the order by a bounded time, so that
/// nothing waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Criticality {
    /// As if it were due ten minutes later.
    Low,
    /// As it is.
    #[default]
    Normal,
    /// As if it were due five minutes earlier.
    High,
    /// As if it were due ten minutes earlier.
    Critical,
}

impl Criticality {
    /// How much earlier it is treated than it is due.
    pub fn head_start(self) -> SignedDuration {
        match self {
            Self::Low => SignedDuration::from_mins(-10),
            Self::Normal => SignedDuration::ZERO,
            Self::High => SignedDuration::from_mins(5),
            Self::Critical => SignedDuration::from_mins(10),
        }
    }
}

/// A job of a tenant: what it needs and until when each run must have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Whose it is.
    pub tenant: String,
    /// Name; jobs of the same name of different tenants are taken for the same program.
    pub name: String,
    /// CPU that a run can use.
    pub millicores: u64,
    /// Memory of the first run; `None`: what others of that name needed, else a safe default.
    pub mebibytes: Option<u64>,
    /// End of a run's window, from its slot on.
    pub due_after: SignedDuration,
    /// Start of its window, from its slot on; zero for most.
    pub not_before: SignedDuration,
    /// A job of the same tenant whose run of the same slot must have succeeded before.
    pub needs: Option<String>,
    /// How much it matters.
    pub criticality: Criticality,
    /// Times that a failed run is tried again.
    pub retries: u32,
    /// Pods at a time as the job is written, where each run is given its own number at its start: CPU and memory are then
    /// those of one pod. `None`: the number is fixed, and they are those of the whole run.
    #[serde(default)]
    pub pods: Option<u32>,
    /// CPU that a run may be given at most where it would use more than it asks for, counted as `millicores` is. `None`: no
    /// more than that.
    #[serde(default)]
    pub most_millicores: Option<u64>,
    /// Memory that a run is given at most, whatever it was killed at, counted as `mebibytes` is: no node has more for one pod.
    /// What its runs are known to need it gets all the same. `None`: all there is.
    #[serde(default)]
    pub most_mebibytes: Option<u64>,
    /// IANA name of the time zone in which its slots lie on work days or on weekends. `None`, or one that is not known: no
    /// difference is made between them.
    #[serde(default)]
    pub zone: Option<String>,
}

/// What is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// No CPU.
    #[error("job {job} asks for no CPU; give at least 0.001 vCPU")]
    NoCpu {
        /// Tenant and name.
        job: String,
    },
    /// Larger than all there is, or than its tenant may have.
    #[error("job {job} needs {needs}, but {whose} is {limit}; make it smaller or raise the limit")]
    TooLarge {
        /// Tenant and name.
        job: String,
        /// Its size.
        needs: Size,
        /// Which limit.
        whose: &'static str,
        /// The limit.
        limit: Size,
    },
    /// The window contradicts itself.
    #[error(
        "job {job} may start {not_before:#} after its slot, but is due {due_after:#} after it; make the window longer"
    )]
    Window {
        /// Tenant and name.
        job: String,
        /// Start of the window.
        not_before: SignedDuration,
        /// End of the window.
        due_after: SignedDuration,
    },
    /// Needs itself, or a job that is not declared.
    #[error(
        "job {job} needs {needs:?}, which is not declared before it for its tenant; declare that first, or leave it out"
    )]
    Needs {
        /// Tenant and name.
        job: String,
        /// What it needs.
        needs: String,
    },
    /// Declared twice.
    #[error("job {job} is declared twice; give one of them another name")]
    Twice {
        /// Tenant and name.
        job: String,
    },
    /// More jobs than the planner takes.
    #[error("job {job} is one more than {most}; raise the planner's limit of jobs")]
    TooMany {
        /// Tenant and name.
        job: String,
        /// The most.
        most: usize,
    },
}

impl Job {
    /// Tenant and name, as messages say it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.tenant, self.name)
    }

    /// What a run reserves as the job is written, before anything is learnt; unknown memory counts as none.
    pub fn asks(&self) -> Size {
        let one = Size { millicores: self.millicores, mebibytes: self.mebibytes.unwrap_or(0) };
        one.times(self.pods.unwrap_or(1))
    }

    /// Checks what can be checked without others.
    pub fn check(&self, capacity: Size) -> Result<(), JobError> {
        if self.millicores == 0 {
            return Err(JobError::NoCpu { job: self.title() });
        }
        if self.not_before.is_negative() || self.not_before >= self.due_after {
            return Err(JobError::Window {
                job: self.title(),
                not_before: self.not_before,
                due_after: self.due_after,
            });
        }
        let needs = self.asks();
        if !needs.fits(capacity) {
            return Err(JobError::TooLarge {
                job: self.title(),
                needs,
                whose: "the capacity",
                limit: capacity,
            });
        }
        Ok(())
    }
}
