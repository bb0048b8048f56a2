//! What is written, kept as text: the log lines of a subscriber that writes here, and whatever is added.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

/// Clones share it.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub fn add(&self, what: &str) {
        self.0.lock().unwrap().extend_from_slice(what.as_bytes());
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
