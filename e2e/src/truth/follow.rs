//! Follows the logs of the application's pods through the Kubernetes API and reads attempts from them.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::Value;

use super::at::At;
use super::pods::PodView;
use super::watch::{Observer, Reached, Start};

/// Lines of one container that are remembered, to leave out those that a new connection repeats.
const REMEMBERED: usize = 20_000;
/// Before a log is asked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// What a new connection repeats of the log, to be sure that nothing is missed.
const REPEATED_SECONDS: i64 = 10;
const FLUSH: Duration = Duration::from_secs(1);

/// Follows every container run once.
#[derive(Clone)]
pub struct Follower {
    observer: Observer,
    file: Arc<Mutex<BufWriter<File>>>,
    followed: Arc<Mutex<HashSet<String>>>,
}

impl Follower {
    /// Writes attempts to a new file at `path`.
    pub fn create(path: &Path, observer: Observer) -> std::io::Result<Self> {
        let file = Arc::new(Mutex::new(BufWriter::new(File::create(path)?)));
        let follower = Self { observer, file: Arc::clone(&file), followed: Arc::default() };
        let stopped = follower.observer.stopped();
        // Not a task that stopping cuts off: the last lines must reach the disk.
        tokio::spawn(async move {
            loop {
                let over = tokio::select! {
                    () = stopped.cancelled() => true,
                    () = tokio::time::sleep(FLUSH) => false,
                };
                if let Err(error) = file.lock().unwrap_or_else(PoisonError::into_inner).flush() {
                    tracing::error!(error = %error, "the file of attempts cannot be written");
                }
                if over {
                    return;
                }
            }
        });
        Ok(follower)
    }

    /// Begins to follow the pod's running container, unless it is followed already.
    pub fn follow(&self, api: &Api<Pod>, pod: &PodView) {
        let Some(container) = pod.running.clone() else { return };
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if !followed.insert(container.clone()) {
            return;
        }
        drop(followed);
        let (follower, api, pod) = (self.clone(), api.clone(), pod.clone());
        self.observer.task(async move { follower.run(&api, &pod, &container).await });
    }

    async fn run(&self, api: &Api<Pod>, pod: &PodView, container: &str) {
        let mut remembered = Remembered::default();
        let mut again = false;
        loop {
            let parameters = LogParams {
                container: Some(pod.container.clone()),
                follow: true,
                since_seconds: again.then_some(REPEATED_SECONDS),
                ..LogParams::default()
            };
            if let Ok(stream) = api.log_stream(&pod.name, &parameters).await {
                let mut lines = stream.lines();
                // An error here is a connection that broke; it is opened again below.
                while let Ok(Some(line)) = lines.try_next().await {
                    if remembered.is_new(&line) {
                        self.line(pod, &line);
                    }
                }
                again = true;
            }
            if !self.observer.lock().pods.runs(&pod.uid, container) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn line(&self, pod: &PodView, line: &str) {
        if !line.starts_with("attempt ") {
            if let Some((reached, milliseconds)) = started(line, pod.restarts > 0) {
                let (at, service) = (At::now(), pod.service.clone());
                self.observer.lock().starts.push(Start { at, service, milliseconds, reached });
            }
            return;
        }
        let mut seen = self.observer.lock();
        let Some(attempt) = seen.history.read(line) else { return };
        seen.history.push(attempt);
        drop(seen);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Reported by the flushing task.
        let _ = writeln!(file, "{line}");
        drop(file);
        if attempt.outcome.failed() {
            self.observer.notify();
        }
    }
}

/// What a line of a log says of the start of its process.
fn started(line: &str, in_place: bool) -> Option<(Reached, f64)> {
    let reached = if line.contains("first connection accepted") {
        if in_place { Reached::CalledInPlace } else { Reached::CalledAnew }
    } else if line.contains("\"listening\"") && !in_place {
        Reached::Listening
    } else {
        return None;
    };
    Some((reached, milliseconds(line)?))
}

/// The number that a JSON log line carries, at the top or under `fields`.
fn milliseconds(line: &str) -> Option<f64> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("milliseconds").or_else(|| value.get("fields")?.get("milliseconds"))?.as_f64()
}

#[derive(Default)]
struct Remembered {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Remembered {
    fn is_new(&mut self, line: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_left_out_and_memory_is_bounded() {
        let mut remembered = Remembered::default();
        assert!(remembered.is_new("a") && !remembered.is_new("a"));
        for number in 0..2 * REMEMBERED {
            assert!(remembered.is_new(&number.to_string()));
        }
        assert_eq!(remembered.known.len(), REMEMBERED);
        assert!(remembered.is_new("a"), "forgotten by now");
    }

    #[test]
    fn the_first_connection_is_read_from_either_form_of_the_line() {
        let nested = r#"{"fields":{"message":"first connection accepted","milliseconds":4.5}}"#;
        assert_eq!(milliseconds(nested), Some(4.5));
        assert_eq!(milliseconds(r#"{"message":"first connection accepted","milliseconds":7}"#), Some(7.0));
        assert_eq!(milliseconds("first connection accepted"), None);
    }

    #[test]
    fn a_start_is_read_from_the_log() {
        let listening = r#"{"fields":{"message":"listening","milliseconds":3}}"#;
        assert_eq!(started(listening, false), Some((Reached::Listening, 3.0)));
        let called = r#"{"fields":{"message":"first connection accepted","milliseconds":9}}"#;
        assert_eq!(started(called, true), Some((Reached::CalledInPlace, 9.0)));
        assert_eq!(started(called, false), Some((Reached::CalledAnew, 9.0)));
        assert_eq!(started(r#"{"fields":{"message":"store open","milliseconds":9}}"#, false), None);
    }
}
