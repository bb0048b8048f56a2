//! A process of this program that carries a fault for as long as the fault is on.
//!
//! It ends when its standard input does. The kernel closes that however the harness ends, so that nothing of it stays.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::FaultError;

/// It says that the fault is on within this time.
const STARTS: Duration = Duration::from_secs(20);
/// It has taken the fault off within this time.
const ENDS: Duration = Duration::from_secs(10);

/// That process, when there is one.
#[derive(Debug, Default)]
pub struct Helper {
    child: Mutex<Option<Child>>,
}

impl Helper {
    /// Starts it in place of the one before, and returns the first line that it prints: the fault is on then.
    ///
    /// # Errors
    /// It could not be started, ended, or said nothing for 20 s.
    pub async fn start(&self, mut command: Command) -> Result<String, FaultError> {
        self.end().await;
        let text = format!("{:?}", command.as_std()).replace('"', "");
        let failed = |reason: String| FaultError::Helper { command: text.clone(), reason };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // Kept before it is awaited: whoever gives up ends it as well.
        *self.child.lock().await = Some(child);
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let mut lines = BufReader::new(stdout);
            match tokio::time::timeout(STARTS, lines.read_line(&mut line)).await {
                Ok(Ok(1..)) => return Ok(line.trim_end().to_owned()),
                Ok(_) => {}
                Err(_) => {
                    self.end().await;
                    return Err(failed(format!("it said nothing for {} s", STARTS.as_secs())));
                }
            }
        }
        let mut reason = String::new();
        if let Some(mut stderr) = stderr {
            // What it says is told where it can be had.
            let _unread = tokio::time::timeout(ENDS, stderr.read_to_string(&mut reason)).await;
        }
        self.end().await;
        Err(failed(reason.trim().to_owned()))
    }

    /// Lets it take the fault off and waits until it has ended; one that does not is killed. Nothing to do where there is
    /// none.
    pub async fn end(&self) {
        let Some(mut child) = self.child.lock().await.take() else { return };
        drop(child.stdin.take());
        if tokio::time::timeout(ENDS, child.wait()).await.is_err() {
            // Already gone is as good.
            let _gone = child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn it_goes_on_until_it_is_let_go_and_then_has_time_to_tidy_up() {
        let folder = std::env::temp_dir().join(format!("helper-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let on = folder.join("on");
        let script = format!("touch {0}; echo on since 7; cat; rm {0}", on.display());
        let helper = Helper::default();
        assert_eq!(helper.start(shell(&script)).await.unwrap(), "on since 7");
        assert!(on.exists());
        helper.end().await;
        assert!(!on.exists());
        helper.end().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn one_that_cannot_put_the_fault_on_says_why() {
        let error = Helper::default().start(shell("echo no such table >&2; exit 1")).await.unwrap_err();
        assert!(error.to_string().contains("no such table"), "{error}");
        let nowhere = Helper::default().start(Command::new("/no/such/program")).await.unwrap_err();
        assert!(nowhere.to_string().contains("/no/such/program"), "{nowhere}");
    }
}
