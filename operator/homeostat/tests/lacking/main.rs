//! Every right that the chart grants and that belongs to no action alone, taken away in turn from a whole process: it is
//! told by its rule, asked for at a measured pace, nothing is done on what is not known, and it is used as soon as it is
//! granted. The rights are those of the rendered chart: a new one that nothing here uses fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

mod process;
#[path = "../chart/render.rs"]
#[allow(dead_code, reason = "the chart's own tests use the rest")]
mod render;
#[path = "../../../cluster/tests/support/mod.rs"]
mod support;

use homeostat::audit::Audit;
use homeostat::record::FileRecorder;
use homeostat_audit::store;
use homeostat_cluster::anchors::{ANCHORS, Anchors};
use homeostat_knowledge::Clock;
use process::{Process, incident, rule, shop};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use support::clock::Hand;
use support::logs::Logs;
use support::{Right, Server, right};

/// Seconds in which everything but the janitor has its turn, and with the janitor.
const SHORT: u64 = 160;
const LONG: u64 = 700;

/// Watched, and decided on.
const WATCHED: [&str; 16] = [
    "pods",
    "services",
    "nodes",
    "configmaps",
    "events",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "tenants",
    "workloads",
    "playbooks",
    "controlplanes",
    "incidents",
];

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// What Homeostat's own account may do whatever actions are switched on, with everything that people may have to list.
fn granted() -> BTreeSet<Right> {
    let objects = render::render(&[
        "externalMetrics[0]=waiting",
        "scaleTargets[0].apiGroup=argoproj.io",
        "scaleTargets[0].resource=rollouts",
    ]);
    let bindings = objects.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap();
        kind.ends_with("RoleBinding") && object["subjects"][0]["name"] == "homeostat"
    });
    let mut all = BTreeSet::new();
    for binding in bindings {
        let role = &binding["roleRef"];
        let role = render::named(&objects, role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
        let action = role["metadata"]["labels"]["homeostat.dev/action"].as_str();
        // Telling people is no choice.
        if action.is_some_and(|action| action != "Notify") {
            continue;
        }
        for rule in role["rules"].as_array().unwrap() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let verbs = texts(&rule["verbs"]).into_iter();
                    all.extend(verbs.map(|verb| (group.to_owned(), resource.to_owned(), verb.to_owned())));
                }
            }
        }
    }
    all
}

/// Those of the record's anchors, which a thread of its own keeps; they have a test of their own.
fn of_anchors((group, resource, verb): &Right) -> bool {
    group.is_empty() && resource == "configmaps" && ["get", "patch"].contains(&&**verb)
}

/// Runs in virtual time; what is left over ends with it.
fn in_virtual_time(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(work);
}

#[test]
fn what_is_granted_is_used_and_nothing_else() {
    in_virtual_time(async {
        let logs = Logs::default();
        let _logs = logs.take();
        let server = shop();
        let mut process = Process::start(&server);
        assert_eq!(process.work(1, LONG).await, Vec::<String>::new());
        assert_eq!(process.blind(), None);
        assert_eq!(logs.lines(), Vec::<String>::new(), "with every right nothing is amiss");
        let used: BTreeSet<Right> =
            server.used().into_iter().filter(|(_, resource, _)| resource != "discovery").collect();
        let granted: BTreeSet<Right> = granted().into_iter().filter(|right| !of_anchors(right)).collect();
        let unused: Vec<_> = granted.difference(&used).collect();
        assert!(unused.is_empty(), "granted and used by nothing: {unused:?}");
        let lacking: Vec<_> = used.difference(&granted).collect();
        assert!(lacking.is_empty(), "used and not granted: {lacking:?}");
    });
}

/// A process that lacks one right, and gets it later.
async fn without(right: &Right) {
    let logs = Logs::default();
    let _logs = logs.take();
    let (group, resource, verb) = right;
    let (group, resource, verb) = (&**group, &**resource, &**verb);
    let seconds = if verb == "delete" { LONG } else { SHORT };
    let server = shop();
    server.forbid(right);
    let mut process = Process::start(&server);
    let mut told = process.work(1, seconds).await;
    told.extend(logs.lines().into_iter().filter(|line| line.contains(&rule(right))));
    let said = told.iter().any(|line| line.contains(&rule(right)));
    assert!(said, "{right:?} is not told: {:#?}", logs.lines());
    assert!(told.len() <= 15, "{right:?} is told {} times in {seconds} s", told.len());
    let asked = server.seen();
    let refused = asked.iter().filter(|seen| support::right(seen) == *right).count() as u64;
    assert!((1..=seconds / 2 + 30).contains(&refused), "{right:?}: {refused} refusals in {seconds} s");
    assert!(asked.len() as u64 <= 20 * seconds, "{right:?}: {} requests in {seconds} s", asked.len());
    assert!(!server.used().contains(right));

    // Nothing is done on what is not known, and everything else goes on.
    let watched = (WATCHED.contains(&resource) || resource == "actions") && ["list", "watch"].contains(&verb);
    match process.blind() {
        Some(why) => assert!(watched && why.contains(&rule(right)), "{right:?}: {why}"),
        None => assert!(!watched, "{right:?}: what is not seen is taken for known"),
    }
    let leads = process.outside.leads();
    assert_eq!(leads, group != "coordination.k8s.io", "{right:?}");
    // Who may not renew the Lease leads until it runs out.
    if !leads && verb != "update" {
        let all = server.writes();
        assert!(
            all.iter().all(|line| line.contains("/leases")),
            "{right:?}: who does not lead writes {all:?}"
        );
    }

    server.grant();
    let refused = process.work(2, seconds).await;
    assert_eq!(refused, Vec::<String>::new(), "{right:?}");
    assert!(server.used().contains(right), "{right:?} is not asked for again");
    assert_eq!(process.blind(), None, "{right:?}");
    assert!(process.outside.leads(), "{right:?}");
}

/// Each right with one of these verbs.
fn each(verbs: &[&str]) {
    let granted = granted();
    let those: Vec<&Right> =
        granted.iter().filter(|right| verbs.contains(&&*right.2) && !of_anchors(right)).collect();
    assert!(those.len() >= 8, "{those:?}");
    for right in those {
        in_virtual_time(without(right));
    }
}

#[test]
fn each_list_that_is_refused_is_told_and_nothing_is_done_until_it_is_granted() {
    each(&["list"]);
}

#[test]
fn each_watch_that_is_refused_is_told_and_nothing_is_done_until_it_is_granted() {
    each(&["watch"]);
}

#[test]
fn each_read_that_is_refused_is_told_and_taken_up_when_it_is_granted() {
    each(&["get"]);
}

#[test]
fn each_write_that_is_refused_is_told_and_made_up_for_when_it_is_granted() {
    each(&["create", "update", "patch", "delete"]);
    let known = ["get", "list", "watch", "create", "update", "patch", "delete"];
    assert!(granted().iter().all(|(_, _, verb)| known.contains(&&**verb)), "a verb that no test takes away");
}

/// Lets the other thread work until something is so, half a minute at most.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !so() {
        assert!(began.elapsed().as_secs() < 30, "{what}");
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

/// A record in this folder that takes decisions.
async fn started(folder: &Path, anchors: &Anchors, clock: &Arc<Hand>) -> Audit {
    let looked = clock.looks();
    let hand = Arc::clone(clock) as Arc<dyn Clock>;
    let kept = Arc::new(FileRecorder::off());
    let audit = Audit::start(folder.to_owned(), "test", kept, anchors.clone(), hand, Arc::default()).await;
    // It looks before it opens the record, and when it has.
    until("the record is open", || clock.looks() >= looked + 2).await;
    audit
}

#[tokio::test]
async fn an_anchor_that_is_refused_is_told_each_minute_and_the_record_goes_on() {
    for (verb, at_the_start) in [("get", 1), ("patch", 0)] {
        let logs = Logs::default();
        let _logs = logs.take();
        let lacking: Right = (String::new(), "configmaps".to_owned(), verb.to_owned());
        assert!(granted().contains(&lacking));
        let server = Server::new();
        let map = json!({ "metadata": { "name": ANCHORS, "namespace": "homeostat-system" } });
        server.put("configmaps", map);
        server.forbid(&lacking);
        let refused = || server.seen().iter().filter(|seen| right(seen) == lacking).count();
        let data = || server.get("configmaps", "homeostat-system", ANCHORS).unwrap()["data"].clone();
        let clock = Arc::new(Hand::default());
        let folder = std::env::temp_dir().join(format!("homeostat-lacking-{verb}-{}", std::process::id()));
        let anchors = Anchors::new(server.client(), "homeostat-system");
        let audit = started(&folder, &anchors, &clock).await;
        assert_eq!(refused(), at_the_start);
        for minute in 1..=2 {
            audit.planned(&incident("order-1", "first"), &format!("minute {minute}"));
            clock.forward(61);
            until("it is tried", || refused() == at_the_start + minute).await;
        }
        assert!(data().is_null());
        assert!(logs.lines().iter().any(|line| line.contains(&rule(&lacking))), "{:?}", logs.lines());

        server.grant();
        audit.planned(&incident("order-1", "first"), "the last minute");
        clock.forward(61);
        until("it is anchored", || data().is_object()).await;
        let anchor = data().as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        assert!(anchor.contains("\"seq\":3"), "nothing of the record is missing: {anchor}");
        audit.close();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[tokio::test]
async fn what_was_anchored_stays_so_when_a_start_cannot_read_it() {
    let logs = Logs::default();
    let _logs = logs.take();
    let lacking: Right = (String::new(), "configmaps".to_owned(), "get".to_owned());
    let server = Server::new();
    server.put("configmaps", json!({ "metadata": { "name": ANCHORS, "namespace": "homeostat-system" } }));
    let data = || server.get("configmaps", "homeostat-system", ANCHORS).unwrap()["data"].clone();
    let clock = Arc::new(Hand::default());
    let folder = std::env::temp_dir().join(format!("homeostat-unread-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let anchors = Anchors::new(server.client(), "homeostat-system");
    let audit = started(&folder, &anchors, &clock).await;
    audit.planned(&incident("order-1", "first"), "one");
    audit.planned(&incident("order-1", "first"), "two");
    clock.forward(61);
    until("it is anchored", || data().is_object()).await;
    audit.close();
    let before = data();
    let (chain, told) = before.as_object().unwrap().iter().next().unwrap();
    let told = told.as_str().unwrap();
    assert!(told.contains("\"seq\":2"), "{told}");
    let file = store::chains(&folder).unwrap()[chain][0].clone();
    // Somebody cuts the record, and the next start cannot know.
    let text = std::fs::read_to_string(&file).unwrap();
    let cut: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, &cut).unwrap();

    server.forbid(&lacking);
    clock.forward(100);
    let audit = started(&folder, &anchors, &clock).await;
    let said = logs.lines();
    assert!(
        said.iter().any(|line| line.contains(&rule(&lacking)) && line.contains("a new chain begins")),
        "{said:?}"
    );
    server.grant();
    audit.planned(&incident("order-1", "first"), "three");
    clock.forward(61);
    until("the new chain is anchored", || data().as_object().unwrap().len() == 2).await;
    audit.close();
    assert_eq!(data()[chain], told, "what was cut is still seen to be");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), cut, "the evidence is not touched");

    // Whoever tells less of that chain is refused.
    let error = anchors.tell(chain, &told.replace("\"seq\":2", "\"seq\":1")).await.unwrap_err();
    assert!(error.to_string().contains("anchored up to entry 2"), "{error}");
    assert_eq!(data()[chain], told);
    std::fs::remove_dir_all(&folder).unwrap();
}
