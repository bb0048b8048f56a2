//! Lines for people who wait: what is done, how long it took, how far a build is.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(5);

/// Prints to standard error, so that output that is read by programs stays clean.
#[derive(Debug, Default)]
pub struct Progress {
    quiet: bool,
    last_count: Mutex<Option<Instant>>,
}

impl Progress {
    /// Prints nothing.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// Something that takes a while begins.
    pub fn begin(&self, what: &str) {
        self.line(&format!("  {what} ..."));
    }

    /// Something ended after `took`.
    pub fn done(&self, what: &str, took: Duration) {
        self.line(&format!("  {what} ({:.1} s)", took.as_secs_f64()));
    }

    /// `done` of about `total` parts are finished; printed every few seconds.
    pub fn counting(&self, what: &str, done: usize, total: usize, took: Duration) {
        let Ok(mut last) = self.last_count.lock() else { return };
        if last.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *last = Some(Instant::now());
        self.line(&format!("  {what}: {done} of {total} packages ({:.0} s)", took.as_secs_f64()));
    }

    /// A line as it is.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}
