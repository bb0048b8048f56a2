//! Waking those who wait for something to change, first come, first served.
//!
//! `tokio::sync::watch` spreads its waiters over several queues that it draws by lot, so those who wait for one change
//! wake in another order in each run. What the executor does must follow from its inputs alone, so that a run can be
//! repeated; here there is one queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    waiting: Notify,
}

/// The side that tells of changes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    shared: Arc<Shared>,
}

/// The side that follows them. Changes that came while nobody waited are told as one.
#[derive(Clone, Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    seen: u64,
}

impl Changes {
    /// Something changed: wakes all who wait, in the order in which they began to.
    pub fn tell(&self) {
        self.shared.count.fetch_add(1, Ordering::Release);
        self.shared.waiting.notify_waiters();
    }

    /// Follows the changes from here on.
    pub fn follow(&self) -> Follower {
        let mut follower = Follower { shared: Arc::clone(&self.shared), seen: 0 };
        follower.catch_up();
        follower
    }
}

impl Follower {
    /// Everything up to now is known.
    pub fn catch_up(&mut self) {
        self.seen = self.shared.count.load(Ordering::Acquire);
    }

    /// Waits for a change that is not known yet; at once when there was one. May be dropped and called again: nothing
    /// is lost. Waits for ever when nobody tells any more.
    pub async fn next(&mut self) {
        loop {
            let mut woken = std::pin::pin!(self.shared.waiting.notified());
            // Enter the queue before looking, so that a change in between is not missed.
            woken.as_mut().enable();
            let count = self.shared.count.load(Ordering::Acquire);
            if count != self.seen {
                self.seen = count;
                return;
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn those_who_wait_wake_in_the_order_in_which_they_came() {
        let changes = Changes::default();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let (mut follower, woken) = (changes.follow(), Arc::clone(&woken));
            tasks.spawn(async move {
                follower.next().await;
                woken.lock().expect("no panic").push(number);
            });
        }
        tokio::task::yield_now().await;
        changes.tell();
        tasks.join_all().await;
        assert_eq!(*woken.lock().expect("no panic"), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_came_before_the_wait_is_told_once() {
        let changes = Changes::default();
        let mut follower = changes.follow();
        changes.tell();
        changes.tell();
        follower.next().await;
        let idle = std::future::poll_fn(|context| {
            let mut waiting = std::pin::pin!(follower.next());
            std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())
        });
        assert!(idle.await, "both were told as one");
        changes.tell();
        follower.catch_up();
        let mut late = changes.follow();
        changes.tell();
        late.next().await;
        follower.next().await;
    }
}
