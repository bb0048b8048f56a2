//! The API server's own audit log as ground truth, and its match with our actions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use homeostat_crds::v1alpha1::Action;
use homeostat_crds::v1alpha1::action::ActionState;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ProofError;
use super::under_test::Acknowledgement;
use crate::cluster::config::HOMEOSTAT;

/// Clocks of one machine, read by two programs.
const TOLERANCE: SignedDuration = SignedDuration::from_millis(50);

/// From this status code on the API server does not say that nothing came of a request.
const ABANDONED: u16 = 499;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<Code>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
    request_object: Option<Value>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

/// A request that changed something, as the API server recorded it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The API server's name of the request.
    pub audit_id: String,
    /// `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// Who sent it, as it says of itself.
    pub agent: String,
    /// Group of the kind; empty for the core.
    pub group: String,
    /// Kind, plural, with the subresource after a slash.
    pub resource: String,
    /// Namespace; empty for what has none.
    pub namespace: String,
    /// Name of the object; for creations as the content says.
    pub name: String,
    /// When it arrived.
    pub at: Timestamp,
    /// When it was answered.
    pub done: Timestamp,
    /// It was carried out. Otherwise nobody can tell: the one who asked was gone before the answer, and what was asked for
    /// may have been on its way to the store.
    pub sure: bool,
    /// What was sent.
    pub body: Value,
}

impl Entry {
    fn of(wire: Wire) -> Option<Self> {
        let done = wire.stage == "ResponseComplete" || wire.stage == "Panic";
        let code = wire.response_status.map_or(0, |status| status.code);
        let sure = (200..300).contains(&code);
        if !done || !(sure || code == 0 || code >= ABANDONED) || wire.uri.contains("dryRun=") {
            return None;
        }
        let ObjectRef { resource, subresource, namespace, name, api_group } =
            wire.object_ref.unwrap_or_default();
        let body = wire.request_object.unwrap_or_default();
        let named = body["metadata"]["name"].as_str().unwrap_or_default();
        Some(Self {
            audit_id: wire.audit_id,
            verb: wire.verb,
            agent: wire.user_agent,
            group: api_group,
            resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
            namespace,
            name: if name.is_empty() { named.to_owned() } else { name },
            at: wire.request_received_timestamp,
            done: wire.stage_timestamp,
            sure,
            body,
        })
    }

    /// Changes something of others: the effect of an action.
    pub fn is_effect(&self) -> bool {
        self.group != "homeostat.dev"
            && !matches!(self.resource.as_str(), "events" | "leases" | "configmaps")
            && !self.group.starts_with("authentication")
    }

    /// The action that the content names, where the effect carries its name.
    fn named_action(&self) -> Option<&str> {
        let template = &self.body["spec"]["template"]["metadata"]["annotations"];
        let annotations = &self.body["metadata"]["annotations"];
        [
            &template["homeostat.dev/restarted-by"],
            &annotations["homeostat.dev/rolled-back-by"],
            &annotations["homeostat.dev/held-by"],
            &annotations["homeostat.dev/created-by"],
        ]
        .into_iter()
        .find_map(Value::as_str)
    }
}

/// Reads the audit log as it grows, and keeps what Homeostat changed.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    offset: u64,
    entries: Vec<Entry>,
}

impl AuditLog {
    /// The log at this path, from its beginning.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0, entries: Vec::new() }
    }

    /// Reads what was written since. Lines of others are skipped without a look inside.
    pub fn read(&mut self) -> Result<&[Entry], ProofError> {
        let path = self.path.clone();
        let mut file = File::open(&path).map_err(ProofError::io("read", &path))?;
        let length = file.metadata().map_err(ProofError::io("read", &path))?.len();
        if length < self.offset {
            // It was turned over: the rest of the old file is lost to us, so nothing may be judged.
            return Err(ProofError::Broken(
                "the API server's audit log began anew; it is too large".to_owned(),
            ));
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(ProofError::io("read", &path))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(ProofError::io("read", &path))?;
            if read == 0 || line.last() != Some(&b'\n') {
                break; // The rest of a line that is being written comes with the next look.
            }
            self.offset += read as u64;
            if !contains(&line, HOMEOSTAT) {
                continue;
            }
            let wire: Wire = serde_json::from_slice(&line)
                .map_err(|error| ProofError::Broken(format!("a line of the audit log: {error}")))?;
            if wire.user.username == HOMEOSTAT {
                self.entries.extend(Entry::of(wire));
            }
        }
        Ok(&self.entries)
    }
}

fn contains(line: &[u8], what: &str) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| line.contains(what))
}

/// Of requests of which nobody knows what came, those that were carried out after all, as the actions show: they created one
/// that is there, or are the effect of one that says that it had it, where no other request was.
pub fn came_after_all(unsure: &[Entry], sure: &[Entry], actions: &[Action]) -> Vec<Entry> {
    let creates = |entry: &&Entry| entry.resource == "actions" && entry.verb == "create";
    let mut known: BTreeSet<&str> = sure.iter().filter(creates).map(|entry| entry.name.as_str()).collect();
    let there: BTreeSet<String> = actions.iter().map(ResourceExt::name_any).collect();
    let owned = |entry: &Entry| owner(entry, actions).ok().filter(|_| entry.is_effect());
    let mut had: BTreeSet<String> = sure.iter().filter_map(owned).map(ResourceExt::name_any).collect();
    let mut came = Vec::new();
    for entry in unsure {
        let first = match owned(entry) {
            Some(action) => acknowledged(action) && had.insert(action.name_any()),
            None => creates(&entry) && there.contains(&entry.name) && known.insert(entry.name.as_str()),
        };
        came.extend(first.then(|| entry.clone()));
    }
    came
}

/// The action says that it had an effect.
fn acknowledged(action: &Action) -> bool {
    let instants = action.status.as_ref().and_then(|status| status.instants.as_ref());
    instants.is_some_and(|instants| instants.acknowledged.is_some())
}

/// What of the audit log and of the actions fits together.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Requests of ours that changed something.
    pub requests: usize,
    /// Of those, effects.
    pub effects: usize,
    /// Actions.
    pub actions: usize,
    /// Of those, actions that say that they had an effect.
    pub done: usize,
    /// Actions that say that nobody knows.
    pub unknown: usize,
    /// Acknowledged effects that carry the API server's name of their request.
    pub acknowledged: usize,
    /// What does not fit, in words.
    pub mismatches: Vec<String>,
}

impl Match {
    /// Everything fits.
    pub fn holds(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// Judges that each request of ours belongs to exactly one action, and each action's effect to exactly one request.
pub fn compare(entries: &[&Entry], actions: &[Action], notes: &[Acknowledgement]) -> Match {
    let mut found = Match { requests: entries.len(), actions: actions.len(), ..Match::default() };
    let by_name: BTreeMap<(String, String), &Action> = actions
        .iter()
        .map(|action| ((action.namespace().unwrap_or_default(), action.name_any()), action))
        .collect();
    let mut created: BTreeMap<&str, usize> = BTreeMap::new();
    let mut had: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    let mut requests: BTreeMap<&str, String> = BTreeMap::new();
    for entry in entries {
        if entry.is_effect() {
            found.effects += 1;
            match owner(entry, actions) {
                Ok(action) => {
                    requests.insert(&entry.audit_id, action.name_any());
                    had.entry(action.name_any()).or_default().push(entry);
                }
                Err(why) => found.mismatches.push(format!("{} {}: {why}", entry.verb, describe(entry))),
            }
        } else if entry.resource == "actions" || entry.resource == "actions/status" {
            if entry.resource == "actions" && entry.verb == "create" {
                *created.entry(entry.name.as_str()).or_default() += 1;
            }
            if !by_name.contains_key(&(entry.namespace.clone(), entry.name.clone())) {
                found.mismatches.push(format!("{} {}: there is no such action", entry.verb, describe(entry)));
            }
        }
    }
    for action in actions {
        let name = action.name_any();
        match created.get(name.as_str()) {
            Some(1) => {}
            count => {
                found.mismatches.push(format!("action {name} was created {} times", count.unwrap_or(&0)));
            }
        }
        let instants = action.status.as_ref().and_then(|status| status.instants.as_ref());
        let done = acknowledged(action);
        // Nobody answered, and nothing was seen of it: it counts as sent, whether it was or not.
        let unknown = !done && instants.is_some_and(|instants| instants.sent.is_some());
        found.done += usize::from(done);
        found.unknown += usize::from(unknown);
        let effects = had.get(&name).map_or(0, Vec::len);
        let fits = if unknown { effects <= 1 } else { effects == usize::from(done) };
        if !fits {
            let says = if done { "says that it had an effect" } else { "says that it had none" };
            let state = state(action);
            found.mismatches.push(format!("action {name} ({state:?}) {says}, and had {effects}"));
        }
    }
    for note in notes {
        match requests.get(note.audit_id.as_str()) {
            Some(action) if *action == note.action => found.acknowledged += 1,
            Some(action) => found.mismatches.push(format!(
                "action {} noted request {}, which belongs to action {action}",
                note.action, note.audit_id
            )),
            None => found.mismatches.push(format!(
                "action {} noted request {}, which is no effect in the audit log",
                note.action, note.audit_id
            )),
        }
    }
    found
}

fn describe(entry: &Entry) -> String {
    format!("{} {}/{} at {}", entry.resource, entry.namespace, entry.name, entry.at)
}

/// How far an action is.
pub fn state(action: &Action) -> Option<ActionState> {
    action.status.as_ref().and_then(|status| status.state)
}

/// The action has ended.
pub fn ended(action: &Action) -> bool {
    matches!(
        state(action),
        Some(
            ActionState::Refused
                | ActionState::Verified
                | ActionState::Undone
                | ActionState::Failed
                | ActionState::Cancelled
                | ActionState::HandedOver
        )
    )
}

/// The one action that this effect belongs to: by its name in the content, or by target and time. Where the next action
/// of a target began within the tolerance of the clocks, the instants themselves decide.
fn owner<'a>(entry: &Entry, actions: &'a [Action]) -> Result<&'a Action, String> {
    let fitting = |tolerance| actions.iter().filter(move |action| fits(entry, action, tolerance));
    let mut found: Vec<&Action> = fitting(TOLERANCE).collect();
    if found.len() > 1 {
        let exactly: Vec<&Action> = fitting(SignedDuration::ZERO).collect();
        if let [_] = exactly.as_slice() {
            found = exactly;
        }
    }
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err("belongs to no action".to_owned()),
        many => {
            let names: BTreeSet<String> = many.iter().map(|action| action.name_any()).collect();
            Err(format!("belongs to {} actions: {names:?}", many.len()))
        }
    }
}

fn fits(entry: &Entry, action: &Action, tolerance: SignedDuration) -> bool {
    if let Some(named) = entry.named_action() {
        return named == action.name_any();
    }
    let target = &action.spec.target;
    if target.namespace.as_deref().unwrap_or_default() != entry.namespace || target.name != entry.name {
        return false;
    }
    if let Some(uid) = entry.body["deleteOptions"]["preconditions"]["uid"].as_str()
        && uid != target.uid
    {
        return false;
    }
    let instants = action.status.as_ref().and_then(|status| status.instants.as_ref());
    let Some(claimed) = instants.and_then(|instants| instants.claimed) else { return false };
    let closed = instants.and_then(|instants| instants.closed);
    entry.at >= claimed.timestamp() - tolerance
        && closed.is_none_or(|closed| entry.at <= closed.timestamp() + tolerance)
}

/// Reads the notes of acknowledged effects; a last line that was cut off by the kill counts as not written.
pub fn notes(path: &Path) -> Result<Vec<Acknowledgement>, ProofError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ProofError::io("read", path)(error)),
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_crds::MicroTime;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_003_200 + second).unwrap()
    }

    fn action(name: &str, sent: bool) -> Action {
        let mut instants = json!({"intent": at(1), "claimed": at(2), "closed": at(9)});
        if sent {
            instants["sent"] = json!(at(3));
            instants["acknowledged"] = json!(at(4));
        }
        serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Action",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "incidentRef": {"name": "order-1"}, "tenant": "shop", "workloadRef": {"name": "order"},
                "playbook": {"name": "proof", "version": 1, "step": 1}, "action": "EvictPod",
                "target": {
                    "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "order-a", "uid": "u-1",
                    "resourceVersion": "1",
                },
                "epoch": 1,
                "evidence": {"id": "e-1", "takenAt": at(0), "summary": "ill"},
            },
            "status": {"state": "Verified", "instants": instants},
        }))
        .unwrap()
    }

    fn eviction(id: &str, uid: &str) -> Entry {
        Entry {
            audit_id: id.to_owned(),
            verb: "create".to_owned(),
            agent: String::new(),
            group: String::new(),
            resource: "pods/eviction".to_owned(),
            namespace: "shop".to_owned(),
            name: "order-a".to_owned(),
            at: at(3),
            done: at(3),
            sure: true,
            body: json!({"deleteOptions": {"preconditions": {"uid": uid}}}),
        }
    }

    fn creation(name: &str) -> Entry {
        Entry {
            group: "homeostat.dev".to_owned(),
            resource: "actions".to_owned(),
            name: name.to_owned(),
            ..eviction("c-1", "u-1")
        }
    }

    #[test]
    fn a_creation_whose_asker_died_counts_when_the_action_is_there_and_nothing_else_tells_of_it() {
        let unsure = |name| Entry { sure: false, ..creation(name) };
        let there = [action("order-1-1", true), action("order-2-1", true)];
        let asked = [unsure("order-1-1"), unsure("order-2-1"), unsure("order-3-1")];
        let came = came_after_all(&asked, &[creation("order-2-1")], &there);
        let names: Vec<&str> = came.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["order-1-1"]);
    }

    #[test]
    fn an_effect_whose_asker_died_counts_once_when_the_action_says_that_it_had_it() {
        let left = Entry { sure: false, ..eviction("e-1", "u-1") };
        let again = Entry { sure: false, ..eviction("e-2", "u-1") };
        let came = |sure: &[Entry], action| came_after_all(&[left.clone(), again.clone()], sure, &[action]);
        let names = |came: Vec<Entry>| came.into_iter().map(|entry| entry.audit_id).collect::<Vec<_>>();
        assert_eq!(names(came(&[], action("order-1-1", true))), ["e-1"]);
        assert!(came(&[], action("order-1-1", false)).is_empty(), "it says that it had none");
        let sure = [eviction("e-3", "u-1")];
        assert!(came(&sure, action("order-1-1", true)).is_empty(), "another request was it");
    }

    #[test]
    fn a_request_that_was_refused_changed_nothing_and_one_that_was_left_may_have() {
        let line = |code: Option<u16>| {
            let wire = json!({
                "auditID": "a-1", "stage": "ResponseComplete", "verb": "create", "requestURI": "/api/v1/pods",
                "user": {"username": HOMEOSTAT}, "requestReceivedTimestamp": at(3), "stageTimestamp": at(3),
                "responseStatus": code.map(|code| json!({"code": code})),
            });
            Entry::of(serde_json::from_value(wire).unwrap()).map(|entry| entry.sure)
        };
        for code in [400, 403, 404, 409, 429] {
            assert_eq!(line(Some(code)), None, "{code}");
        }
        assert_eq!((line(Some(200)), line(Some(201))), (Some(true), Some(true)));
        for code in [None, Some(0), Some(499), Some(500), Some(504)] {
            assert_eq!(line(code), Some(false), "{code:?}");
        }
    }

    #[test]
    fn an_effect_right_after_the_end_of_the_action_before_belongs_to_the_one_whose_time_it_is() {
        let between = |name: &str, claimed: i64, closed: i64| {
            let mut action = action(name, true);
            let instants = action.status.as_mut().and_then(|status| status.instants.as_mut()).unwrap();
            let milli =
                |milli| MicroTime::from(Timestamp::from_millisecond(at(0).as_millisecond() + milli).unwrap());
            instants.claimed = Some(milli(claimed));
            instants.closed = Some(milli(closed));
            action
        };
        // The effect came at 3.000 s.
        let owner = |actions: &[Action]| owner(&eviction("a-1", "u-1"), actions).map(ResourceExt::name_any);
        let apart = [between("order-1-1", 2000, 2970), between("order-1-2", 2985, 9000)];
        assert_eq!(owner(&apart), Ok("order-1-2".to_owned()));
        let overlapping = [between("order-1-1", 2000, 3010), between("order-1-2", 2985, 9000)];
        assert!(owner(&overlapping).is_err(), "nobody can tell");
    }

    #[test]
    fn one_effect_for_one_action_fits_and_nothing_else_does() {
        let (made, effect) = (creation("order-1-1"), eviction("a-1", "u-1"));
        let done = [action("order-1-1", true)];
        let note = Acknowledgement { action: "order-1-1".to_owned(), audit_id: "a-1".to_owned() };
        let good = compare(&[&made, &effect], &done, std::slice::from_ref(&note));
        assert!(good.holds(), "{good:?}");
        assert_eq!((good.requests, good.effects, good.done, good.acknowledged), (2, 1, 1, 1));

        let twice = compare(&[&made, &effect, &eviction("a-2", "u-1")], &done, &[]);
        assert!(twice.mismatches.iter().any(|text| text.contains("and had 2")), "{twice:?}");
        let lost = compare(&[&made], &done, &[]);
        assert!(lost.mismatches.iter().any(|text| text.contains("and had 0")), "{lost:?}");
        let untold = compare(&[&made, &effect], &[action("order-1-1", false)], &[]);
        assert!(untold.mismatches.iter().any(|text| text.contains("had none, and had 1")), "{untold:?}");
        let mut lost_track = action("order-1-1", true);
        let instants = lost_track.status.as_mut().and_then(|status| status.instants.as_mut()).unwrap();
        instants.acknowledged = None;
        for entries in [&[&made][..], &[&made, &effect]] {
            let found = compare(entries, std::slice::from_ref(&lost_track), &[]);
            assert!(found.holds() && found.unknown == 1, "{found:?}");
        }
        let foreign = compare(&[&made, &eviction("a-1", "u-2")], &[action("order-1-1", false)], &[]);
        assert!(foreign.mismatches.iter().any(|text| text.contains("belongs to no action")), "{foreign:?}");
        let unknown =
            compare(&[&effect, &made], &done, &[Acknowledgement { audit_id: "a-9".into(), ..note }]);
        assert!(unknown.mismatches.iter().any(|text| text.contains("no effect in the audit log")));
        assert!(!compare(&[&creation("order-2-1")], &[], &[]).holds(), "an action that nobody has");
    }
}
