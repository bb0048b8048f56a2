//! The name that the API server gives to a request in its audit log: with it, an entry of our record and one of the API
//! server's log are known to be the same request.

use std::cell::RefCell;
use std::future::Future;

use homeostat_knowledge::Name;

/// Header of the API server's answer (`audit.k8s.io/v1`, `Event.auditID`).
const HEADER: &str = "audit-id";
/// Longest name that is kept; they are UUIDs.
const LONGEST: usize = 64;

tokio::task_local! {
    static NEWEST: RefCell<Option<Name>>;
}

/// Looks at an answer while [`heard`] waits for it; of other requests nothing is kept.
pub(crate) fn note<B>(answer: http::Response<B>) -> http::Response<B> {
    let id = answer.headers().get(HEADER).and_then(|id| id.to_str().ok());
    if let Some(id) = id.filter(|id| id.len() <= LONGEST) {
        // Outside of a request of interest there is nowhere to keep it.
        let _elsewhere = NEWEST.try_with(|newest| newest.replace(Some(Name::from(id))));
    }
    answer
}

/// Does this work, and gives back the name of the last request that was answered in it.
pub(crate) async fn heard<T>(work: impl Future<Output = T>) -> (T, Option<Name>) {
    NEWEST
        .scope(RefCell::new(None), async {
            let answer = work.await;
            let id = NEWEST.with(RefCell::take);
            (answer, id)
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
}
