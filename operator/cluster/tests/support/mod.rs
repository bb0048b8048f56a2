//! An API server in memory, as far as these tests need one: lists with pages, watches, conditional writes, status
//! subresources, evictions. Every request is recorded; any request can be made to fail.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

pub mod board;
pub mod clock;
pub mod logs;
mod tokens;

pub use clock::Still;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{StreamExt, future};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Error as IoError;
use std::sync::{Arc, Mutex};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    pub content_type: String,
}

impl Seen {
    /// Verb and path.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

/// What a request gets instead of its answer.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// This status code with this `Status` object.
    Answer(u16, Value),
    /// No answer, ever; nothing happens.
    Silence,
    /// The request has its effect, and the answer is lost.
    LostAnswer,
    /// The connection fails before anything is sent.
    Refused,
}

/// A `Status` with a reason.
pub fn status(code: u16, reason: &str, message: &str) -> Trouble {
    Trouble::Answer(
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": message }),
    )
}

struct Rule {
    method: Method,
    path: String,
    trouble: Trouble,
    times: usize,
}

struct Watcher {
    plural: String,
    namespace: Option<String>,
    sender: mpsc::UnboundedSender<Bytes>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    objects: BTreeMap<(String, String, String), Value>,
    version: u64,
    rules: VecDeque<Rule>,
    watchers: Vec<Watcher>,
    /// Everything that happened: a watch goes on from the version that its client knows.
    events: Vec<Event>,
    /// Every watch is told that its version is too old.
    compacted: bool,
    /// The right that the client lacks, and those that it used.
    forbidden: Option<Right>,
    used: BTreeSet<Right>,
    /// The one token that counts; `None` where nobody has to show one.
    token: Option<String>,
}

/// API group, resource with its subresource, verb.
pub type Right = (String, String, String);

/// The right that a request needs.
pub fn right(seen: &Seen) -> Right {
    let Place { plural, name, sub, .. } = place(&seen.path);
    let group = seen.path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next());
    let resource = sub.map_or_else(|| plural.clone(), |sub| format!("{plural}/{sub}"));
    let verb = match (seen.method.as_str(), name) {
        ("GET", None) if seen.query.contains_key("watch") => "watch",
        ("GET", None) => "list",
        ("GET", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ => "delete",
    };
    (group.unwrap_or_default().to_owned(), resource, verb.to_owned())
}

struct Event {
    version: u64,
    plural: String,
    namespace: Option<String>,
    line: Bytes,
}

/// The server.
#[derive(Clone, Default)]
pub struct Server {
    state: Arc<Mutex<State>>,
}

struct Place {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    sub: Option<String>,
}

fn place(path: &str) -> Place {
    let mut parts: VecDeque<&str> = path.trim_matches('/').split('/').collect();
    let skip = if parts[0] == "api" { 2 } else { 3 };
    if parts.len() <= skip {
        // What there is of an API group or version.
        let plural = "discovery".to_owned();
        return Place { plural, namespace: None, name: None, sub: None };
    }
    parts.drain(..skip);
    let namespace = (parts[0] == "namespaces" && parts.len() > 2).then(|| {
        parts.pop_front();
        parts.pop_front().unwrap().to_owned()
    });
    let mut next = || parts.pop_front().map(str::to_owned);
    Place { plural: next().unwrap(), namespace, name: next(), sub: next() }
}

fn kind_of(plural: &str) -> (&'static str, &'static str) {
    match plural {
        "pods" => ("v1", "Pod"),
        "services" => ("v1", "Service"),
        "nodes" => ("v1", "Node"),
        "configmaps" => ("v1", "ConfigMap"),
        "deployments" => ("apps/v1", "Deployment"),
        "replicasets" => ("apps/v1", "ReplicaSet"),
        "jobs" => ("batch/v1", "Job"),
        "cronjobs" => ("batch/v1", "CronJob"),
        "horizontalpodautoscalers" => ("autoscaling/v2", "HorizontalPodAutoscaler"),
        "poddisruptionbudgets" => ("policy/v1", "PodDisruptionBudget"),
        "events" => ("events.k8s.io/v1", "Event"),
        "leases" => ("coordination.k8s.io/v1", "Lease"),
        "tenants" => ("homeostat.dev/v1alpha1", "Tenant"),
        "workloads" => ("homeostat.dev/v1alpha1", "Workload"),
        "playbooks" => ("homeostat.dev/v1alpha1", "Playbook"),
        "controlplanes" => ("homeostat.dev/v1alpha1", "ControlPlane"),
        "incidents" => ("homeostat.dev/v1alpha1", "Incident"),
        "actions" => ("homeostat.dev/v1alpha1", "Action"),
        "forecasts" => ("homeostat.dev/v1alpha1", "Forecast"),
        "reports" => ("homeostat.dev/v1alpha1", "Report"),
        _ => ("v1", "Thing"),
    }
}

impl Server {
    pub fn new() -> Self {
        let server = Self::default();
        server.state.lock().unwrap().version = 100;
        server
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.handle(request).await }
        });
        Client::new(service, "default")
    }

    /// The next `times` requests of this method whose path ends like this get into trouble.
    pub fn trouble(&self, method: Method, path: &str, times: usize, trouble: Trouble) {
        let rule = Rule { method, path: path.to_owned(), trouble, times };
        self.state.lock().unwrap().rules.push_back(rule);
    }

    /// The client lacks this one right from now on.
    pub fn forbid(&self, right: &Right) {
        self.state.lock().unwrap().forbidden = Some(right.clone());
    }

    /// The client lacks nothing any more.
    pub fn grant(&self) {
        self.state.lock().unwrap().forbidden = None;
    }

    /// Rights that requests needed and had so far.
    pub fn used(&self) -> BTreeSet<Right> {
        self.state.lock().unwrap().used.clone()
    }

    /// Every object, as text.
    pub fn objects(&self) -> String {
        format!("{:?}", self.state.lock().unwrap().objects)
    }

    /// Nothing gets into trouble any more.
    pub fn calm(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Requests since the start.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Writing requests since the start, as `VERB path`.
    pub fn writes(&self) -> Vec<String> {
        self.seen().iter().filter(|seen| seen.writes()).map(Seen::line).collect()
    }

    /// Puts an object there as somebody else would; watchers are told.
    pub fn put(&self, plural: &str, object: Value) {
        self.state.lock().unwrap().put(plural, object);
    }

    /// Puts an object there while all watches are cut: nobody is told.
    pub fn put_silently(&self, plural: &str, object: Value) {
        let mut state = self.state.lock().unwrap();
        let watchers = std::mem::take(&mut state.watchers);
        state.put(plural, object);
        state.watchers = watchers;
    }

    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.state.lock().unwrap().objects.get(&key).cloned()
    }

    /// Takes an object away; watchers are told when `tell`.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str, tell: bool) {
        let mut state = self.state.lock().unwrap();
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = state.objects.remove(&key) else { return };
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let watchers = if tell { Vec::new() } else { std::mem::take(&mut state.watchers) };
        state.notify(plural, "DELETED", &object);
        state.watchers.extend(watchers);
    }

    /// Ends every watch as a restarting API server does; with `gone`, the last thing they say is 410.
    pub fn cut_watches(&self, gone: bool) {
        let mut state = self.state.lock().unwrap();
        for watcher in state.watchers.drain(..) {
            if gone {
                let _told = watcher.sender.unbounded_send(expired());
            }
        }
    }

    /// Whether every watch is told that its version is too old, as after a compaction.
    pub fn compact(&self, compacted: bool) {
        self.state.lock().unwrap().compacted = compacted;
    }

    /// Sends a bookmark on every watch.
    pub fn bookmark(&self) {
        let state = self.state.lock().unwrap();
        for watcher in &state.watchers {
            let (api_version, kind) = kind_of(&watcher.plural);
            let object = json!({ "apiVersion": api_version, "kind": kind,
                "metadata": { "resourceVersion": state.version.to_string() } });
            let _told = watcher.sender.unbounded_send(event("BOOKMARK", &object));
        }
    }

    /// Watches that are open now.
    pub fn watching(&self) -> usize {
        self.state.lock().unwrap().watchers.iter().filter(|watcher| !watcher.sender.is_closed()).count()
    }

    /// Answers one request.
    pub async fn handle(
        &self,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, IoError>>, IoError> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map_err(IoError::other)?.to_bytes();
        let query = parts.uri.query().unwrap_or_default();
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let (content_type, shown) = (header("content-type"), header("authorization").map(str::to_owned));
        let seen = Seen {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            content_type: content_type.unwrap_or_default().to_owned(),
        };
        let trouble = {
            let mut state = self.state.lock().unwrap();
            state.seen.push(seen.clone());
            if state.token.is_none() || state.token == shown {
                state.trouble(&seen)
            } else {
                Some(status(401, "Unauthorized", "Unauthorized"))
            }
        };
        match trouble {
            Some(Trouble::Answer(code, body)) => return Ok(answer(code, &body)),
            Some(Trouble::Silence) => future::pending::<()>().await,
            Some(Trouble::Refused) => return Err(IoError::other("Connection refused (os error 111)")),
            Some(Trouble::LostAnswer) => {
                self.state.lock().unwrap().answer(&seen);
                return Err(IoError::other("connection reset by peer"));
            }
            None => {}
        }
        if seen.query.get("watch").is_some_and(|watch| watch == "true") {
            return Ok(self.watch(&seen));
        }
        let (code, body) = self.state.lock().unwrap().answer(&seen);
        Ok(answer(code, &body))
    }

    fn watch(&self, seen: &Seen) -> Response<UnsyncBoxBody<Bytes, IoError>> {
        let Place { plural, namespace, .. } = place(&seen.path);
        #[allow(clippy::disallowed_methods, reason = "a test ends before it could grow")]
        let (sender, receiver) = mpsc::unbounded();
        let from: u64 =
            seen.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let mut state = self.state.lock().unwrap();
        for event in &state.events {
            let ours = namespace.is_none() || namespace == event.namespace;
            if event.version > from && event.plural == plural && ours {
                let _told = sender.unbounded_send(event.line.clone());
            }
        }
        if state.compacted {
            let _told = sender.unbounded_send(expired());
        } else {
            state.watchers.push(Watcher { plural, namespace, sender });
        }
        drop(state);
        let frames = receiver.map(|bytes| Ok::<_, IoError>(Frame::data(bytes)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn answer(code: u16, body: &Value) -> Response<UnsyncBoxBody<Bytes, IoError>> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

impl State {
    fn trouble(&mut self, seen: &Seen) -> Option<Trouble> {
        let needed = right(seen);
        if self.forbidden.as_ref() == Some(&needed) {
            let (group, resource, verb) = needed;
            // As the API server's authorizer words it.
            let said =
                format!("User \"homeostat\" cannot {verb} resource \"{resource}\" in API group \"{group}\"");
            return Some(status(403, "Forbidden", &format!("it is forbidden: {said}")));
        }
        self.used.insert(needed);
        let at = self.rules.iter().position(|rule| {
            rule.times > 0 && rule.method == seen.method && seen.path.ends_with(&rule.path)
        })?;
        self.rules[at].times -= 1;
        Some(self.rules[at].trouble.clone())
    }

    fn put(&mut self, plural: &str, mut object: Value) {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        self.version += 1;
        let version = self.version.to_string();
        let key = (plural.to_owned(), namespace, name.clone());
        let old = self.objects.get(&key);
        let (api_version, kind) = kind_of(plural);
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version);
        let kept = |field: &str, default: Value| old.map_or(default, |old| old["metadata"][field].clone());
        if metadata["uid"].is_null() {
            metadata["uid"] = kept("uid", json!(format!("uid-of-{name}")));
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = kept("creationTimestamp", json!("2026-11-22T09:00:00Z"));
        }
        if metadata["generation"].is_null() {
            metadata["generation"] = kept("generation", json!(1));
        }
        let what = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key, object.clone());
        self.notify(plural, what, &object);
    }

    fn notify(&mut self, plural: &str, what: &str, object: &Value) {
        let line = event(what, object);
        let namespace = object["metadata"]["namespace"].as_str();
        self.events.push(Event {
            version: self.version,
            plural: plural.to_owned(),
            namespace: namespace.map(str::to_owned),
            line: line.clone(),
        });
        self.watchers.retain(|watcher| {
            let concerned = watcher.plural == plural
                && watcher.namespace.as_deref().is_none_or(|wanted| Some(wanted) == namespace);
            !concerned || watcher.sender.unbounded_send(line.clone()).is_ok()
        });
    }

    fn answer(&mut self, seen: &Seen) -> (u16, Value) {
        let Place { plural, namespace, name, sub } = place(&seen.path);
        let failed = |code: u16, reason: &str| {
            (
                code,
                json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason,
                "message": format!("{plural} {name:?}: {reason}") }),
            )
        };
        let dry = seen.query.contains_key("dryRun");
        let Some(name) = name.clone() else {
            if seen.method == Method::GET {
                return self.list(seen, &plural, namespace.as_deref());
            }
            let mut object = seen.body.clone();
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let key = (plural.clone(), namespace.clone().unwrap_or_default(), name);
            if self.objects.contains_key(&key) {
                return failed(409, "AlreadyExists");
            }
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = json!(namespace);
            }
            // The status of a new object is not taken from a creation.
            object.as_object_mut().unwrap().remove("status");
            if dry {
                return (201, object);
            }
            self.put(&plural, object);
            return (201, self.objects[&key].clone());
        };
        let key = (plural.clone(), namespace.unwrap_or_default(), name);
        let Some(mut object) = self.objects.get(&key).cloned() else { return failed(404, "NotFound") };
        if seen.method == Method::GET {
            return (200, object);
        }
        let demands =
            |field: &str, demanded: &Value| !demanded.is_null() && *demanded != object["metadata"][field];
        if sub.as_deref() == Some("eviction") {
            if demands("uid", &seen.body["deleteOptions"]["preconditions"]["uid"]) {
                return failed(409, "Conflict");
            }
            if !dry {
                object["metadata"]["deletionTimestamp"] = json!("2026-11-22T09:14:05Z");
                self.put(&plural, object);
            }
            return (201, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }));
        }
        if seen.method == Method::DELETE {
            if demands("uid", &seen.body["preconditions"]["uid"]) {
                return failed(409, "Conflict");
            }
            self.objects.remove(&key);
            return (200, object);
        }
        let sent = &seen.body["metadata"];
        if demands("uid", &sent["uid"]) {
            let mut answer = failed(422, "Invalid");
            answer.1["message"] = json!("metadata.uid: Invalid value: field is immutable");
            return answer;
        }
        if demands("resourceVersion", &sent["resourceVersion"]) {
            return failed(409, "Conflict");
        }
        if sub.as_deref() == Some("status") {
            object["status"] = seen.body["status"].clone();
        } else {
            merge(&mut object, &seen.body);
        }
        if !dry {
            self.put(&plural, object);
        }
        (200, self.objects[&key].clone())
    }

    fn list(&self, seen: &Seen, plural: &str, namespace: Option<&str>) -> (u16, Value) {
        let all: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((one, space, _), _)| one == plural && namespace.is_none_or(|wanted| wanted == space))
            .map(|(_, object)| object)
            // Of label selectors only "has this label" and "has this value" are known here.
            .filter(|object| {
                let wanted = seen.query.get("labelSelector");
                let wanted = wanted.map(|label| label.replace("%2F", "/").replace("%3D", "="));
                wanted.is_none_or(|wanted| {
                    let (label, value) = wanted.split_once('=').unwrap_or((&wanted, ""));
                    let found = object["metadata"]["labels"].get(label);
                    found.is_some_and(|found| value.is_empty() || found == value)
                })
            })
            .collect();
        let from = seen.query.get("continue").and_then(|token| token.parse().ok()).unwrap_or(0_usize);
        let limit = seen.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let to = from.saturating_add(limit).min(all.len());
        let rest = if to < all.len() { to.to_string() } else { String::new() };
        let (api_version, kind) = kind_of(plural);
        (
            200,
            json!({ "apiVersion": api_version, "kind": format!("{kind}List"),
            "metadata": { "resourceVersion": self.version.to_string(), "continue": rest },
            "items": &all[from..to] }),
        )
    }
}

fn expired() -> Bytes {
    let object = json!({ "kind": "Status", "code": 410, "reason": "Expired",
        "message": "too old resource version" });
    event("ERROR", &object)
}

/// A line of a watch; the type comes first, as the API server writes it.
fn event(what: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{{\"type\":\"{what}\",\"object\":{object}}}\n"))
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            // Of strategic merges only this directive is known here; lists are replaced.
            if patch.get("$patch").is_some_and(|directive| directive == "replace") {
                into.clear();
            }
            for (name, value) in patch.iter().filter(|(name, _)| *name != "$patch") {
                if value.is_null() {
                    into.remove(name);
                } else {
                    merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        // RFC 7386: what is no object becomes an empty one first, so that a null in the patch leaves no trace.
        (into, patch @ Value::Object(_)) => {
            *into = json!({});
            merge(into, patch);
        }
        (into, patch) => *into = patch.clone(),
    }
}
