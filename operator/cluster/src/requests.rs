//! Requests to the API server, counted by what was asked and how it was answered.

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// What is asked, as in metrics. `change` is a patch or an update.
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "change", "delete", "evict"];
/// How it is answered, as in metrics. `refused`: not allowed, not valid, or to be tried later; `failed`: an error of the
/// server, or no answer in time.
const RESULTS: [&str; 5] = ["ok", "conflict", "not_found", "refused", "failed"];

/// Requests since the start.
#[derive(Debug, Default)]
pub struct RequestCounts([[AtomicU64; RESULTS.len()]; VERBS.len()]);

impl RequestCounts {
    /// Verb, result and number of requests. All of them, so that the first failure is seen as a rise.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        VERBS.iter().zip(&self.0).flat_map(|(verb, of_verb)| {
            let results = RESULTS.iter().zip(of_verb);
            results.map(|(result, count)| (*verb, *result, count.load(Ordering::Relaxed)))
        })
    }

    fn add(&self, verb: &str, result: &str) {
        let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name);
        if let (Some(verb), Some(result)) = (place(&VERBS, verb), place(&RESULTS, result)) {
            self.0[verb][result].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts what passes.
#[derive(Clone, Debug)]
pub(crate) struct Counted(pub Arc<RequestCounts>);

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, counts: Arc::clone(&self.0) }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counting<S> {
    inner: S,
    counts: Arc<RequestCounts>,
}

/// One request. Whoever waits no longer for its answer drops it, and that counts as none.
struct Pending {
    counts: Arc<RequestCounts>,
    verb: &'static str,
    result: &'static str,
}

impl Pending {
    fn answered(&mut self, status: u16) {
        self.result = result(status);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.counts.add(self.verb, self.result);
    }
}

impl<S, B, A> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let mut pending = Pending { counts: Arc::clone(&self.counts), verb, result: "failed" };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                pending.answered(response.status().as_u16());
            }
            answer
        })
    }
}

fn verb(method: &Method, path: &str, query: &str) -> &'static str {
    match *method {
        Method::POST if path.ends_with("/eviction") => "evict",
        Method::POST => "create",
        Method::PUT | Method::PATCH => "change",
        Method::DELETE => "delete",
        _ if query.split('&').any(|pair| pair == "watch=true") => "watch",
        _ if of_many(path) => "list",
        _ => "get",
    }
}

/// A path that ends with a resource, without the name of one object.
fn of_many(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => {
            matches!(rest, [_] | ["namespaces", _, _])
        }
        _ => false,
    }
}

fn result(status: u16) -> &'static str {
    match status {
        200..=299 => "ok",
        404 => "not_found",
        409 | 410 | 412 => "conflict",
        400..=499 => "refused",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn counted(counts: &RequestCounts) -> Vec<(&'static str, &'static str, u64)> {
        counts.rows().filter(|(_, _, count)| *count > 0).collect()
    }

    #[tokio::test]
    async fn each_request_is_counted_once_by_its_verb_and_answer() {
        for (method, uri, status, verb, result) in [
            ("GET", "/api/v1/namespaces/shop/pods/order-x", 200, "get", "ok"),
            ("GET", "/api/v1/nodes/one", 404, "get", "not_found"),
            ("GET", "/api/v1/namespaces/shop", 200, "get", "ok"),
            ("GET", "/version", 200, "get", "ok"),
            ("GET", "/apis/apps/v1/deployments?limit=500", 200, "list", "ok"),
            ("GET", "/apis/apps/v1/namespaces/shop/deployments?limit=500", 429, "list", "refused"),
            ("GET", "/api/v1/pods?&watch=true&timeoutSeconds=45", 410, "watch", "conflict"),
            ("POST", "/api/v1/namespaces/shop/pods/order-x/eviction", 429, "evict", "refused"),
            ("POST", "/apis/homeostat.dev/v1alpha1/namespaces/shop/actions", 201, "create", "ok"),
            ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/order", 422, "change", "refused"),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/homeostat",
                409,
                "change",
                "conflict",
            ),
            ("DELETE", "/apis/homeostat.dev/v1alpha1/namespaces/shop/actions/a", 503, "delete", "failed"),
        ] {
            let counts = Arc::new(RequestCounts::default());
            let server = tower::service_fn(move |_: Request<()>| async move {
                Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
            });
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            Counted(Arc::clone(&counts)).layer(server).call(request).await.unwrap();
            assert_eq!(counted(&counts), [(verb, result, 1)], "{method} {uri} {status}");
        }
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_any_more_failed() {
        let counts = Arc::new(RequestCounts::default());
        let silent =
            tower::service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, Infallible>>());
        let request = Request::builder().uri("/api/v1/nodes").body(()).unwrap();
        drop(Counted(Arc::clone(&counts)).layer(silent).call(request));
        assert_eq!(counted(&counts), [("list", "failed", 1)]);
    }
}
