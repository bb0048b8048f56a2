//! Keeps every guard input as one JSON line, so that a run can be judged again under other limits.

use homeostat_execute::{GuardInput, Recorder};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines kept per run; at most 20 actions an hour and two judgements each, this is weeks.
const MAX_LINES: u64 = 100_000;

/// Writes guard inputs to a file, or nowhere.
#[derive(Debug, Default)]
pub struct FileRecorder {
    file: Option<Mutex<BufWriter<File>>>,
    lines: AtomicU64,
}

impl FileRecorder {
    /// A recorder that keeps nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// A recorder that writes to a new file.
    pub fn to(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: Some(Mutex::new(BufWriter::new(File::create(path)?))), lines: AtomicU64::new(0) })
    }
}

impl Recorder for FileRecorder {
    fn record(&self, input: &GuardInput) {
        let Some(file) = &self.file else { return };
        if self.lines.fetch_add(1, Ordering::Relaxed) >= MAX_LINES {
            return;
        }
        let Ok(line) = serde_json::to_string(input) else { return };
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A lost line makes a later replay poorer, never an action wrong.
        if let Err(error) = writeln!(file, "{line}").and_then(|()| file.flush()) {
            tracing::warn!(error = %error, "A guard input could not be recorded");
        }
    }
}
