//! Lines for people who watch: what happens, with seconds since the beginning. All lines are kept for
//! the report's timeline.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::truth::At;

/// Lines kept; a run of an hour has a few thousand.
const MAX_LINES: usize = 50_000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: At,
    /// What.
    pub text: String,
}

/// Prints and keeps lines.
#[derive(Clone, Debug)]
pub struct Live {
    begin: At,
    /// Lines go to standard error, because a program reads the output.
    aside: bool,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Live {
    /// The clock starts now.
    pub fn start() -> Self {
        Self { begin: At::now(), aside: false, lines: Arc::default() }
    }

    /// The same on standard error, for commands whose output is read by programs.
    pub fn aside() -> Self {
        Self { aside: true, ..Self::start() }
    }

    /// Something happened now.
    pub fn say(&self, text: impl Into<String>) {
        self.at(At::now(), text);
    }

    /// Something happened at that time.
    pub fn at(&self, at: At, text: impl Into<String>) {
        let text = text.into();
        self.plain(&format!("[{:8.2} s] {text}", (at - self.begin).seconds()));
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MAX_LINES {
            lines.push(Line { at, text });
        }
    }

    /// A line without a time, for headings and tables.
    pub fn plain(&self, text: &str) {
        // Nobody can be told when the output is gone.
        let _ = if self.aside {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }

    /// When the clock started.
    pub fn begin(&self) -> At {
        self.begin
    }

    /// Everything said so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
