//! Peers written in Python: a script gets lines on its standard input and prints how many items a second it did.

use std::io::Write;
use std::process::{Command, Stdio};

/// Items a second of the peer; `None`, and one line that says so, when `python3` cannot import it.
pub fn peer(module: &str, script: &str, input: &[u8]) -> Option<f64> {
    let child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        println!("{module}: skipped, no python3");
        return None;
    };
    // A script that cannot import its peer closes the pipe early.
    child.stdin.take()?.write_all(input).ok();
    let output = child.wait_with_output().ok()?;
    let found = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    if found.is_none() {
        println!("{module}: skipped, python3 cannot import it");
    }
    found
}
