//! What the API server writes into the head of an answer: the name that it gives to the request in its audit log, so that
//! an entry of our record and one of its log are known to be the same request; and its own time.

use std::cell::RefCell;
use std::future::Future;

use homeostat_knowledge::{Name, Timestamp};

/// Header of the API server's answer (`audit.k8s.io/v1`, `Event.auditID`).
const HEADER: &str = "audit-id";
/// Longest name that is kept; they are UUIDs.
const LONGEST: usize = 64;

tokio::task_local! {
    static NEWEST: RefCell<Head>;
}

/// What is kept of an answer.
#[derive(Default)]
struct Head {
    id: Option<Name>,
    date: Option<Timestamp>,
}

/// Looks at an answer while [`heard`] waits for it; of other requests nothing is kept.
pub(crate) fn note<B>(answer: http::Response<B>) -> http::Response<B> {
    let text = |header: &str| answer.headers().get(header).and_then(|value| value.to_str().ok());
    let id = text(HEADER).filter(|id| id.len() <= LONGEST);
    // RFC 9110 writes dates as RFC 2822 does, always in GMT.
    let date =
        text("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
    // Outside of a request of interest there is nowhere to keep it.
    let _elsewhere = NEWEST.try_with(|newest| {
        let mut newest = newest.borrow_mut();
        newest.id = id.map(Name::from).or_else(|| newest.id.take());
        newest.date = date.or(newest.date);
    });
    answer
}

/// Does this work, and gives back the name of the last request that was answered in it.
pub(crate) async fn heard<T>(work: impl Future<Output = T>) -> (T, Option<Name>) {
    let (answer, head) = listening(work).await;
    (answer, head.id)
}

/// Does this work, and gives back the API server's time of the last answer in it, in whole seconds.
pub(crate) async fn dated<T>(work: impl Future<Output = T>) -> (T, Option<Timestamp>) {
    let (answer, head) = listening(work).await;
    (answer, head.date)
}

async fn listening<T>(work: impl Future<Output = T>) -> (T, Head) {
    NEWEST
        .scope(RefCell::default(), async {
            let answer = work.await;
            (answer, NEWEST.with(RefCell::take))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_answer_names_the_request_and_other_tasks_are_not_heard() {
        let answer = |id: &str| http::Response::builder().header(HEADER, id).body(()).unwrap();
        let ((), id) = heard(async {
            note(answer("first"));
            tokio::spawn(async move { note(answer("elsewhere")) }).await.unwrap();
            note(answer("second"));
            note(http::Response::new(()));
        })
        .await;
        assert_eq!(id.as_deref(), Some("second"));
        assert_eq!(heard(async { drop(note(answer(&"x".repeat(65)))) }).await.1, None);
        note(answer("nobody listens"));
    }

    #[tokio::test]
    async fn the_time_of_an_answer_is_the_api_servers_own() {
        let answer = |date: &str| http::Response::builder().header("date", date).body(()).unwrap();
        let ((), date) = dated(async { drop(note(answer("Sun, 06 Nov 1994 08:49:37 GMT"))) }).await;
        assert_eq!(date, "1994-11-06T08:49:37Z".parse().ok());
        assert_eq!(dated(async { drop(note(answer("yesterday"))) }).await.1, None);
    }
}
