//! The parts of the process that run beside the loop. One that ends before it is told to leaves half a control plane that
//! looks healthy to its probes; so the process ends then, and is started again.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Starts parts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Parts {
    ended: mpsc::Sender<&'static str>,
}

/// Tells which part ended first.
#[derive(Debug)]
pub struct FirstEnd {
    ended: mpsc::Receiver<&'static str>,
}

/// Both sides.
pub fn parts() -> (Parts, FirstEnd) {
    let (sender, ended) = mpsc::channel(1);
    (Parts { ended: sender }, FirstEnd { ended })
}

impl Parts {
    /// Runs `work` in a task of its own. That it returned or panicked is told to [`FirstEnd`]; while the process stops,
    /// nobody listens there any more.
    pub fn start(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let ended = self.ended.clone();
        let task = tokio::spawn(work);
        tokio::spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(part = name, %error, "A part of the process broke down");
            }
            // The first one is enough.
            let _ = ended.try_send(name);
        })
    }
}

impl FirstEnd {
    /// Waits for the first part that ends, and gives its name.
    pub async fn wait(&mut self) -> &'static str {
        match self.ended.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_breaks_down_or_returns_is_told_by_its_name_and_one_that_works_is_not() {
        for (name, broken) in [("breaks", true), ("returns", false)] {
            let (parts, mut first) = parts();
            parts.start("works", std::future::pending());
            parts.start(name, async move { assert!(!broken, "as it is meant to") });
            assert_eq!(first.wait().await, name);
        }
    }
}
