//! The fault proxy: between the process under test and the API server, on loopback. It sends each request on under
//! Homeostat's own identity, unless a rule says otherwise.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::error::ProofError;
use super::faults::{Fault, LONGER_THAN_A_CALL, Rules, SLOW};
use super::process::Victim;
use super::request::Request;

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

/// From the answer to the kill, when the process is to die right after it.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Longest list that is remembered, so that it can be shown again.
const REMEMBERED: usize = 4 << 20;

/// The connection is broken without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct Cut;

/// How a proxy sends requests on that no rule strikes.
#[derive(Clone, Default)]
pub struct Manners {
    /// Replaces what requests say of the program that sent them, so that the API server's audit log tells processes of
    /// one account apart.
    pub agent: Option<String>,
    /// The Lease is another one than the one that is asked for.
    pub lease: Option<OtherLease>,
    /// Some requests go to another API server.
    pub second: Option<Second>,
    /// From here on requests wait until they are let go.
    pub hold: Option<Hold>,
}

/// Another API server of the same cluster.
#[derive(Clone)]
pub struct Second {
    /// The way there.
    pub client: Client,
    /// It serves everything; otherwise lists and watches alone, which the picture of the cluster is made of.
    pub everything: bool,
}

/// Where in an action's life its process is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It has decided, and asks for nothing yet.
    Decision,
    /// The intent is stored; claim, last reads and effect are to come.
    Claim,
}

impl Hold {
    fn holds(self, what: Request) -> bool {
        match self {
            Self::Decision => !matches!(what, Request::List | Request::Watch | Request::Other),
            Self::Claim => matches!(what, Request::Claim | Request::FreshRead | Request::Effect),
        }
    }
}

/// There is one Lease in a cluster, and so one leader. Several pairs of processes side by side need one each: requests
/// for the one go to another name, by a client that may write it.
#[derive(Clone)]
pub struct OtherLease {
    /// Its name.
    pub name: String,
    /// The shipped role is for the one name only.
    pub client: Client,
}

impl OtherLease {
    /// The request about the other Lease; `None` when it is about something else.
    fn renamed(&self, request: &http::Request<Bytes>) -> Option<http::Request<Bytes>> {
        let (collection, name) = request.uri().path().split_once("/leases")?;
        if !matches!(name, "" | "/homeostat") {
            return None;
        }
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let named = if name.is_empty() { String::new() } else { format!("/{}", self.name) };
        let mut body = request.body().clone();
        if let Ok(mut object) = serde_json::from_slice::<serde_json::Value>(&body)
            && object.is_object()
        {
            object["metadata"]["name"] = json!(self.name);
            body = Bytes::from(object.to_string());
        }
        let mut renamed = http::Request::new(body);
        *renamed.method_mut() = request.method().clone();
        *renamed.headers_mut() = request.headers().clone();
        *renamed.uri_mut() = format!("{collection}/leases{named}{query}").parse().ok()?;
        Some(renamed)
    }
}

/// A proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    upstream: Client,
    victim: Arc<Victim>,
    agent: Option<HeaderValue>,
    lease: Option<OtherLease>,
    second: Option<Second>,
    hold: watch::Sender<Option<Hold>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Rules,
    /// Answers of reads and lists by path and query, as they were first given.
    first: BTreeMap<String, (StatusCode, Bytes)>,
    /// Lists are answered from memory, each once.
    stale_lists: Vec<String>,
    /// Ends the watches that are open; those that begin later have a new one.
    watches: CancellationToken,
    trace: Vec<String>,
    further_pages: u32,
    /// A request was held up.
    held: bool,
}

impl Proxy {
    /// Listens on loopback.
    pub async fn start(
        upstream: Client,
        victim: Arc<Victim>,
        rules: Rules,
        manners: Manners,
    ) -> Result<Self, ProofError> {
        let here = Path::new("the proxy's address");
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ProofError::io("bind", here))?;
        let address = listener.local_addr().map_err(ProofError::io("read", here))?;
        let agent = manners.agent.and_then(|agent| HeaderValue::from_str(&agent).ok());
        let Manners { lease, second, hold, .. } = manners;
        let hold = watch::Sender::new(hold);
        let state = Mutex::new(State { rules, ..State::default() });
        let shared = Arc::new(Shared { upstream, victim, agent, lease, second, hold, state });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { shared.pass(request).await }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        })
        .abort_handle();
        Ok(Self { address, shared, task })
    }

    /// Writes a kubeconfig that leads here.
    pub fn kubeconfig(&self, path: PathBuf) -> Result<PathBuf, ProofError> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proof",
            "clusters": [{"name": "proof", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "proof", "user": {}}],
            "contexts": [{"name": "proof", "context": {"cluster": "proof", "user": "proof"}}],
        });
        std::fs::write(&path, config.to_string()).map_err(ProofError::io("write", &path))?;
        Ok(path)
    }

    /// How many rules have struck.
    pub fn struck(&self) -> u32 {
        self.shared.state().rules.struck()
    }

    /// How many pages of lists were asked for after their first ones.
    pub fn further_pages(&self) -> u32 {
        self.shared.state().further_pages
    }

    /// A request waits, or has waited, where the process is held up.
    pub fn held(&self) -> bool {
        self.shared.state().held
    }

    /// Lets everything go that is held up, and what comes after it.
    pub fn let_go(&self) {
        self.shared.hold.send_replace(None);
    }

    /// Requests that belong to actions, in their order, with the fault that struck them.
    pub fn trace(&self) -> Vec<String> {
        self.shared.state().trace.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counts and memory as they are; they can still be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(self: Arc<Self>, request: http::Request<Incoming>) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let what = Request::of(&parts.method, path, query, &body);
        let key = format!("{path}?{query}");
        self.wait(what).await;
        let fault = {
            let mut state = self.state();
            let fault = state.rules.meet(what);
            state.further_pages += u32::from(what == Request::List && query.contains("continue="));
            if !matches!(what, Request::List | Request::Watch | Request::Other) {
                let fault = fault.map(|fault| format!(" {fault:?}")).unwrap_or_default();
                state.trace.push(format!("{what:?} {path}{fault}"));
            }
            if what == Request::List
                && let Some(at) = state.stale_lists.iter().position(|stale| *stale == key)
            {
                state.stale_lists.swap_remove(at);
                if let Some((status, body)) = state.first.get(&key).cloned() {
                    state.trace.push(format!("List {path} Stale"));
                    return Ok(whole(status, body));
                }
            }
            fault
        };
        let request = http::Request::from_parts(parts, body);
        match fault {
            None => self.forward(what, &key, request).await,
            Some(fault) => self.strike(fault, what, &key, request).await,
        }
    }

    /// Waits while requests of this kind are held up.
    async fn wait(&self, what: Request) {
        let mut hold = self.hold.subscribe();
        let holds = |hold: Option<Hold>| hold.is_some_and(|hold| hold.holds(what));
        if holds(*hold.borrow()) {
            self.state().held = true;
        }
        // The sender is our own: it is there as long as we are.
        let _let_go = hold.wait_for(|hold| !holds(*hold)).await;
    }

    async fn strike(
        &self,
        fault: Fault,
        what: Request,
        key: &str,
        request: http::Request<Bytes>,
    ) -> Result<Answer, Cut> {
        match fault {
            Fault::CrashBefore => {
                self.victim.kill();
                Err(Cut)
            }
            Fault::CrashReplyLost => {
                let _lost = self.complete(what, key, request).await;
                self.victim.kill();
                Err(Cut)
            }
            Fault::CrashThenStaleLists => {
                let _lost = self.complete(what, key, request).await;
                self.victim.kill();
                let mut state = self.state();
                state.stale_lists = state.first.keys().cloned().collect();
                Err(Cut)
            }
            Fault::CrashAfter => {
                let answer = self.complete(what, key, request).await;
                let victim = Arc::clone(&self.victim);
                tokio::spawn(async move {
                    tokio::time::sleep(AT_ONCE).await;
                    victim.kill();
                });
                answer
            }
            Fault::Cut => Err(Cut),
            Fault::WatchesCut => {
                std::mem::take(&mut self.state().watches).cancel();
                self.forward(what, key, request).await
            }
            Fault::ReplyLost => {
                let _lost = self.complete(what, key, request).await;
                Err(Cut)
            }
            Fault::HangsLost => {
                tokio::time::sleep(LONGER_THAN_A_CALL).await;
                Err(Cut)
            }
            Fault::HangsDone => {
                let _lost = self.complete(what, key, request).await;
                tokio::time::sleep(LONGER_THAN_A_CALL).await;
                Err(Cut)
            }
            Fault::Slow => {
                tokio::time::sleep(SLOW).await;
                self.forward(what, key, request).await
            }
            Fault::TooMany => Ok(refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")),
            Fault::ServerError => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            Fault::Unavailable => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")),
            Fault::Conflict => Ok(refusal(StatusCode::CONFLICT, "Conflict")),
            Fault::Stale => {
                let first = self.state().first.get(key).cloned();
                match first {
                    Some((status, body)) => Ok(whole(status, body)),
                    None => self.forward(what, key, request).await,
                }
            }
        }
    }

    /// Sends a request on; an answer without end is passed on as it comes.
    async fn forward(&self, what: Request, key: &str, request: http::Request<Bytes>) -> Result<Answer, Cut> {
        if what == Request::Watch {
            let open = self.state().watches.clone();
            let answer = self.send(what, request).await?;
            return Ok(answer.map(|body| {
                let parts = body.into_data_stream().map(|part| part.map(Frame::data));
                StreamBody::new(parts.take_until(open.cancelled_owned())).boxed_unsync()
            }));
        }
        self.complete(what, key, request).await
    }

    /// Sends a request on and waits for the whole answer.
    async fn complete(&self, what: Request, key: &str, request: http::Request<Bytes>) -> Result<Answer, Cut> {
        let answer = self.send(what, request).await?;
        let (mut parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts.headers.remove(header::CONTENT_LENGTH);
        if matches!(what, Request::List | Request::FreshRead) && body.len() <= REMEMBERED {
            self.state().first.entry(key.to_owned()).or_insert((parts.status, body.clone()));
        }
        Ok(Response::from_parts(parts, full(body)))
    }

    async fn send(
        &self,
        what: Request,
        request: http::Request<Bytes>,
    ) -> Result<Response<kube::client::Body>, Cut> {
        let pictures = matches!(what, Request::List | Request::Watch);
        let second = self.second.as_ref().filter(|second| second.everything || pictures);
        let usual = second.map_or(&self.upstream, |second| &second.client);
        let other = self.lease.as_ref().and_then(|lease| Some((lease.renamed(&request)?, &lease.client)));
        let (request, client) = other.unwrap_or((request, usual));
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut builder = http::Request::builder().method(parts.method.clone()).uri(target);
        for (name, value) in &parts.headers {
            let own = [
                header::HOST,
                header::ACCEPT_ENCODING,
                header::CONTENT_LENGTH,
                header::CONNECTION,
                header::TRANSFER_ENCODING,
                header::AUTHORIZATION,
            ];
            let replaced = self.agent.is_some() && name == header::USER_AGENT;
            if !own.contains(name) && !replaced {
                builder = builder.header(name, value);
            }
        }
        if let Some(agent) = &self.agent {
            builder = builder.header(header::USER_AGENT, agent);
        }
        let body = if parts.method == Method::GET { Vec::new() } else { body.to_vec() };
        let request = builder.body(kube::client::Body::from(body)).map_err(|_| Cut)?;
        client.send(request).await.map_err(|error| {
            tracing::debug!(%error, "The API server gave no answer");
            Cut
        })
    }
}

fn full(body: Bytes) -> UnsyncBoxBody<Bytes, kube::Error> {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn whole(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(full(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A `Status` as the API server words it.
fn refusal(status: StatusCode, reason: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("refused on purpose ({reason})"), "reason": reason, "code": status.as_u16(),
    });
    whole(status, Bytes::from(body.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_picture_is_made_of_is_never_held_up_and_the_effect_always_is() {
        for hold in [Hold::Decision, Hold::Claim] {
            assert!(!hold.holds(Request::List) && !hold.holds(Request::Watch), "{hold:?}");
            assert!(hold.holds(Request::Effect) && hold.holds(Request::FreshRead), "{hold:?}");
        }
        assert!(Hold::Decision.holds(Request::KillSwitch) && !Hold::Claim.holds(Request::KillSwitch));
    }
}
