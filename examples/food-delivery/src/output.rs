//! Standard output without blocking a request: lines go to a bounded buffer in memory and one
//! thread writes it out. A slow reader of the container log costs lines (counted), never time.

use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait; beyond it lines are dropped and counted.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// How long lines are gathered before one write.
const GATHER: Duration = Duration::from_millis(20);

struct Waiting {
    bytes: Vec<u8>,
    writing: bool,
    dropped: u64,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting { bytes: Vec::new(), writing: false, dropped: 0 });
static CHANGED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the writing thread. Called once, before the first line.
pub fn start() -> std::io::Result<()> {
    std::thread::Builder::new().name("stdout".to_owned()).spawn(write_forever)?;
    Ok(())
}

fn write_forever() {
    let mut spare = Vec::new();
    loop {
        let mut waiting = lock();
        while waiting.bytes.is_empty() {
            waiting = CHANGED.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        drop(waiting);
        std::thread::sleep(GATHER);
        let mut waiting = lock();
        std::mem::swap(&mut waiting.bytes, &mut spare);
        waiting.writing = true;
        let dropped = std::mem::take(&mut waiting.dropped);
        drop(waiting);
        let mut stdout = std::io::stdout().lock();
        // Nobody can be told when standard output is gone; the service goes on.
        let _ = stdout.write_all(&spare);
        if dropped > 0 {
            let _ =
                writeln!(stdout, r#"{{"level":"WARN","message":"log lines dropped","dropped":{dropped}}}"#);
        }
        let _ = stdout.flush();
        drop(stdout);
        spare.clear();
        lock().writing = false;
        CHANGED.notify_all();
    }
}

/// Queues whole lines (each ends with a newline).
pub fn write(lines: &[u8]) {
    let mut waiting = lock();
    if waiting.bytes.len() + lines.len() > MAX_WAITING_BYTES {
        waiting.dropped += 1;
        return;
    }
    let was_empty = waiting.bytes.is_empty();
    waiting.bytes.extend_from_slice(lines);
    drop(waiting);
    if was_empty {
        CHANGED.notify_all();
    }
}

/// Waits until everything queued is written, at most 500 ms. Called before the process ends.
pub fn flush() {
    let end = Instant::now() + Duration::from_millis(500);
    let mut waiting = lock();
    while (waiting.writing || !waiting.bytes.is_empty()) && Instant::now() < end {
        let (next, _) = CHANGED.wait_timeout(waiting, GATHER).unwrap_or_else(PoisonError::into_inner);
        waiting = next;
    }
}

/// A writer for log formatters that hand over one event per call.
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
