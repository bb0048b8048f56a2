//! Runs against a scripted API server: a Job is let go or tried again, a `CronJob`'s next runs get a size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::ApiActuator;
use homeostat_execute::actions::retry_name;
use homeostat_execute::ports::{Acknowledged, Actuator, EffectError, FreshTarget, Refusal};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::{ActionId, Name, ObjectKey, Parameters, Target, Timestamp};
use http::Method;
use serde_json::{Value, json};
use support::{Server, Trouble, status};

const MIB: u64 = 1 << 20;
/// Second of a decision to make a run.
const SLOT: i64 = 1_790_000_000;

fn target(kind: &str, name: &str) -> Target {
    Target {
        api_version: Name::from("batch/v1"),
        kind: Name::from(kind),
        key: ObjectKey::new("water", name),
        uid: Uid::new(format!("uid-of-{name}")),
        resource_version: Name::from("7"),
    }
}

fn job() -> Target {
    target("Job", "plan-1")
}

fn cron_job() -> Target {
    target("CronJob", "plan")
}

fn id() -> ActionId {
    ActionId::new("run-plan-1-uidofpla-1")
}

fn template() -> Value {
    let requests = json!({ "requests": { "cpu": "1", "memory": "512Mi" } });
    let containers = json!([{ "name": "app", "image": "plan:1", "resources": requests }]);
    json!({ "metadata": { "labels": { "app": "plan" } },
        "spec": { "restartPolicy": "Never", "containers": containers } })
}

/// A Job that waits and the `CronJob` that made it.
fn server() -> Server {
    let server = Server::new();
    server.put(
        "cronjobs",
        json!({ "metadata": { "name": "plan", "namespace": "water" }, "spec": {
            "schedule": "0 * * * *", "jobTemplate": { "spec": { "suspend": true, "template": template() } } } }),
    );
    server.put(
        "jobs",
        json!({ "metadata": { "name": "plan-1", "namespace": "water", "annotations": { "theirs": "stays" } },
            "spec": { "suspend": true, "template": template() } }),
    );
    server
}

/// The same, but the Job has failed.
fn server_with_a_failed_job() -> Server {
    let server = server();
    let mut failed = server.get("jobs", "water", "plan-1").unwrap();
    failed["spec"]["suspend"] = json!(false);
    failed["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
    server.put("jobs", failed);
    server
}

fn start(memory: Option<u64>) -> Parameters {
    Parameters::StartJob {
        cpu_millis: None,
        memory_bytes: memory.map(|memory| memory * MIB),
        parallelism: None,
    }
}

/// With so many pods at a time.
fn start_with(pods: u32) -> Parameters {
    Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: Some(pods) }
}

fn resize() -> Parameters {
    Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: None,
        cpu_limit_millis: None,
        memory_bytes: Some(1_024 * MIB),
        memory_limit_bytes: None,
    }
}

async fn fresh(server: &Server, target: &Target) -> Option<FreshTarget> {
    ApiActuator::new(server.client()).fresh_target(target).await.unwrap()
}

/// The effect as the driver sends it: on the version of a fresh read.
async fn send(
    server: &Server,
    target: &Target,
    parameters: &Parameters,
) -> Result<Acknowledged, EffectError> {
    let version = fresh(server, target).await.unwrap().resource_version;
    ApiActuator::new(server.client()).effect(target, parameters, &id(), &version).await
}

/// Who let the Job go, as the fresh read says.
async fn started_by(server: &Server) -> Option<Name> {
    fresh(server, &job()).await.unwrap().controller.unwrap().work.unwrap().started_by
}

/// Memory that one pod of the next runs asks for, in MiB, as the fresh read says.
async fn next_memory(server: &Server) -> Option<u64> {
    let work = fresh(server, &cron_job()).await.unwrap().controller.unwrap().work.unwrap();
    work.requests.memory_bytes.map(|bytes| bytes / MIB)
}

#[tokio::test]
async fn a_waiting_job_is_let_go_in_one_write_that_says_by_whom() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    hands.dry_run(&job(), &start(Some(800)), &id()).await.unwrap();
    assert_eq!(
        server.get("jobs", "water", "plan-1").unwrap()["spec"]["suspend"],
        true,
        "a dry run only asks"
    );
    send(&server, &job(), &start(Some(800))).await.unwrap();
    let sent = server.seen().into_iter().rfind(support::Seen::writes).unwrap();
    assert_eq!(sent.line(), "PATCH /apis/batch/v1/namespaces/water/jobs/plan-1");
    assert_eq!(sent.content_type, "application/strategic-merge-patch+json");
    let memory = (800 * MIB).to_string();
    assert_eq!(
        sent.body["spec"],
        json!({ "suspend": false, "template": { "spec": { "containers": [{ "name": "app",
            "resources": { "requests": { "memory": memory }, "limits": { "memory": memory } } }] } } })
    );
    let found = server.get("jobs", "water", "plan-1").unwrap();
    assert_eq!(found["metadata"]["annotations"]["theirs"], "stays");
    assert_eq!(started_by(&server).await.as_deref(), Some(id().as_str()));
}

#[tokio::test]
async fn the_write_that_lets_a_job_go_also_says_how_many_pods_run_at_a_time() {
    let server = server();
    let mut job_now = server.get("jobs", "water", "plan-1").unwrap();
    job_now["spec"]["parallelism"] = json!(2);
    server.put("jobs", job_now);
    let hands = ApiActuator::new(server.client());
    hands.dry_run(&job(), &start_with(5), &id()).await.unwrap();
    assert_eq!(server.get("jobs", "water", "plan-1").unwrap()["spec"]["parallelism"], 2, "only tried");
    let tried = server.writes().len();
    send(&server, &job(), &start_with(5)).await.unwrap();
    assert_eq!(server.writes().len(), tried + 1, "one write does all of it");
    let sent = server.seen().into_iter().rfind(support::Seen::writes).unwrap();
    assert_eq!(sent.body["spec"], json!({ "suspend": false, "parallelism": 5 }));
    assert_eq!(sent.body["metadata"]["annotations"]["homeostat.dev/started-by"], id().as_str());
    let work = fresh(&server, &job()).await.unwrap().controller.unwrap().work.unwrap();
    assert_eq!((work.pods, work.started_by.as_deref()), (5, Some(id().as_str())));
}

#[tokio::test]
async fn a_second_try_has_as_many_pods_at_a_time_as_are_asked_for() {
    let server = server_with_a_failed_job();
    send(&server, &job(), &start_with(3)).await.unwrap();
    let second = server.get("jobs", "water", &retry_name(&job())).unwrap();
    assert_eq!(second["spec"]["parallelism"], 3);
    assert!(server.get("jobs", "water", "plan-1").unwrap()["spec"]["parallelism"].is_null());
}

#[tokio::test]
async fn a_job_that_changed_was_replaced_or_is_gone_is_not_let_go() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let version = fresh(&server, &job()).await.unwrap().resource_version;
    // Somebody writes between the fresh read and the effect.
    let job_now = server.get("jobs", "water", "plan-1").unwrap();
    server.put("jobs", job_now);
    let changed = hands.effect(&job(), &start(None), &id(), &version).await;
    assert!(matches!(changed, Err(EffectError::Conflict(_))), "{changed:?}");

    let other = Target { uid: Uid::new("decided-on-another"), ..job() };
    let replaced = send(&server, &other, &start(None)).await;
    assert!(matches!(replaced, Err(EffectError::Conflict(_))), "{replaced:?}");
    assert_eq!(started_by(&server).await, None);

    server.remove("jobs", "water", "plan-1", true);
    let gone = hands.effect(&job(), &start(None), &id(), &version).await;
    assert_eq!(gone, Err(EffectError::NotFound));
    assert_eq!(fresh(&server, &job()).await, None);
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_is_found_by_its_mark_and_not_sent_again() {
    let server = server();
    server.trouble(Method::PATCH, "/jobs/plan-1", 1, Trouble::LostAnswer);
    let lost = send(&server, &job(), &start(None)).await;
    assert!(matches!(lost, Err(EffectError::Unknown(_))), "{lost:?}");
    assert_eq!(server.writes().len(), 1, "what is unknown is read, never sent again by the hands");
    assert_eq!(started_by(&server).await.as_deref(), Some(id().as_str()));

    // A connection that was never made is no such case: nothing was sent.
    let server = self::server();
    server.trouble(Method::PATCH, "/jobs/plan-1", 1, Trouble::Refused);
    let unsent = send(&server, &job(), &start(None)).await;
    assert!(matches!(unsent, Err(EffectError::Transient { .. })), "{unsent:?}");
    assert_eq!(started_by(&server).await, None);
}

#[tokio::test]
async fn a_size_that_the_api_server_does_not_take_is_refused_before_anything_is_done() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let immutable = status(422, "Invalid", "spec.template: Invalid value: field is immutable");
    server.trouble(Method::PATCH, "/jobs/plan-1", 1, immutable);
    let refused = hands.dry_run(&job(), &start(Some(800)), &id()).await.unwrap_err();
    // The orderer of runs reads this word: from then on it sizes templates instead.
    assert!(matches!(&refused, Refusal::WouldFail(why) if why.contains("immutable")), "{refused:?}");

    let mut two = server.get("jobs", "water", "plan-1").unwrap();
    two["spec"]["template"]["spec"]["containers"] = json!([{ "name": "app" }, { "name": "side" }]);
    server.put("jobs", two);
    let written = server.writes().len();
    let unsized_job = send(&server, &job(), &start(Some(800))).await;
    assert!(matches!(&unsized_job, Err(EffectError::Denied(why)) if why.contains("one container")));
    assert_eq!(server.writes().len(), written);
    send(&server, &job(), &start(None)).await.unwrap();
    assert_eq!(started_by(&server).await.as_deref(), Some(id().as_str()), "as it is written it may start");
}

#[tokio::test]
async fn a_limit_that_a_job_was_made_with_is_not_lowered() {
    let server = server();
    let mut limited = server.get("jobs", "water", "plan-1").unwrap();
    limited["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = json!({ "memory": "2Gi" });
    server.put("jobs", limited.clone());
    send(&server, &job(), &start(Some(800))).await.unwrap();
    let sent = server.seen().into_iter().rfind(support::Seen::writes).unwrap();
    let resources = &sent.body["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"]["memory"], (800 * MIB).to_string());
    assert_eq!(resources["limits"]["memory"], (2_048 * MIB).to_string());
    limited["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
    server.put("jobs", limited);
    send(&server, &job(), &start(Some(3_000))).await.unwrap();
    let second = server.get("jobs", "water", &retry_name(&job())).unwrap();
    let resources = &second["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"]["memory"], (3_000 * MIB).to_string());
}

#[tokio::test]
async fn a_limit_of_cpu_is_raised_with_the_request_and_never_lowered_or_set_where_there_is_none() {
    for (limit, wanted, raised) in [(Some("1"), 1_500, true), (Some("1"), 800, false), (None, 1_500, false)] {
        let server = server();
        let mut limited = server.get("jobs", "water", "plan-1").unwrap();
        if let Some(limit) = limit {
            limited["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
                json!({ "cpu": limit });
            server.put("jobs", limited.clone());
        }
        let work = fresh(&server, &job()).await.unwrap().controller.unwrap().work.unwrap();
        assert_eq!(work.cpu_limit, limit.map(|_| 1_000));
        let start = Parameters::StartJob { cpu_millis: Some(wanted), memory_bytes: None, parallelism: None };
        send(&server, &job(), &start).await.unwrap();
        let sent = server.seen().into_iter().rfind(support::Seen::writes).unwrap();
        let resources = &sent.body["spec"]["template"]["spec"]["containers"][0]["resources"];
        let cpu = format!("{wanted}m");
        let expected = if raised {
            json!({ "requests": { "cpu": cpu }, "limits": { "cpu": cpu } })
        } else {
            json!({ "requests": { "cpu": cpu } })
        };
        assert_eq!(*resources, expected, "{limit:?}");
        limited["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
        server.put("jobs", limited);
        send(&server, &job(), &start).await.unwrap();
        let second = server.get("jobs", "water", &retry_name(&job())).unwrap();
        let limits = &second["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
        let kept = limit.map_or(Value::Null, |limit| json!(if raised { cpu.as_str() } else { limit }));
        assert_eq!(limits["cpu"], kept, "its second try");
    }
}

#[tokio::test]
async fn a_second_try_is_a_new_job_that_is_created_once() {
    let server = server_with_a_failed_job();
    server.trouble(Method::POST, "/jobs", 1, Trouble::LostAnswer);
    let lost = send(&server, &job(), &start(Some(1_024))).await;
    assert!(matches!(lost, Err(EffectError::Unknown(_))), "{lost:?}");
    let name = retry_name(&job());
    let second = server.get("jobs", "water", &name).unwrap();
    let pod = &second["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], (1_024 * MIB).to_string());
    assert_eq!(pod["containers"][0]["resources"]["requests"]["cpu"], "1", "what is not sized stays");
    assert!(second["spec"]["suspend"].is_null(), "it begins at once");
    let by = fresh(&server, &job()).await.unwrap().marks.retried_by;
    assert_eq!(by.as_deref(), Some(id().as_str()), "a read finds that it was ours");
    let again = send(&server, &job(), &start(Some(2_048))).await;
    assert!(matches!(&again, Err(EffectError::Conflict(why)) if why.contains("already")), "{again:?}");
    assert_eq!(server.get("jobs", "water", &name).unwrap(), second, "the first one is left as it is");
}

#[tokio::test]
async fn each_further_try_says_which_one_it_is_also_when_those_before_are_cleared_away() {
    let server = server_with_a_failed_job();
    let mut failed = job();
    for attempt in [2, 3] {
        send(&server, &failed, &start(None)).await.unwrap();
        let name = retry_name(&failed);
        let mut made = server.get("jobs", "water", &name).unwrap();
        made["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
        server.put("jobs", made);
        server.remove("jobs", "water", &failed.key.name, true);
        failed = target("Job", &name);
        let work = fresh(&server, &failed).await.unwrap().controller.unwrap().work.unwrap();
        assert_eq!(work.attempt, Some(attempt));
    }
}

#[tokio::test]
async fn a_second_try_that_somebody_else_made_is_theirs() {
    let server = server_with_a_failed_job();
    let name = retry_name(&job());
    server.put("jobs", json!({ "metadata": { "name": name, "namespace": "water" }, "spec": {} }));
    let there = send(&server, &job(), &start(None)).await;
    assert!(matches!(there, Err(EffectError::Conflict(_))), "{there:?}");
    let by = fresh(&server, &job()).await.unwrap().marks.retried_by;
    assert_eq!(by.as_deref(), Some("somebody else"));
}

fn create() -> Parameters {
    Parameters::CreateJob { slot: Timestamp::from_second(SLOT).unwrap() }
}

/// The Job that it makes.
fn made(server: &Server) -> Option<Value> {
    server.get("jobs", "water", &format!("plan-backlog-{SLOT}"))
}

/// Who made it, as a fresh read for this action says.
async fn made_by(server: &Server) -> Option<Name> {
    let hands = ApiActuator::new(server.client());
    hands.fresh_for(&cron_job(), &create()).await.unwrap().unwrap().marks.made_by
}

#[tokio::test]
async fn a_run_from_the_backlog_is_one_suspended_job_of_the_template_that_says_by_whom() {
    let server = server();
    let mut cron = server.get("cronjobs", "water", "plan").unwrap();
    cron["spec"]["jobTemplate"]["metadata"] = json!({ "labels": { "team": "water" },
        "annotations": { "theirs": "stays", "homeostat.dev/retry-of": "nobody" } });
    cron["spec"]["jobTemplate"]["spec"]["suspend"] = json!(null);
    server.put("cronjobs", cron);
    ApiActuator::new(server.client()).dry_run(&cron_job(), &create(), &id()).await.unwrap();
    assert_eq!((made(&server), made_by(&server).await), (None, None), "a dry run only asks");
    let tried = server.writes().len();
    send(&server, &cron_job(), &create()).await.unwrap();
    assert_eq!(server.writes().len(), tried + 1);
    let sent = server.seen().into_iter().rfind(support::Seen::writes).unwrap();
    assert_eq!(sent.line(), "POST /apis/batch/v1/namespaces/water/jobs");
    let job = made(&server).unwrap();
    assert_eq!(job["spec"]["suspend"], true, "whatever the template says");
    assert_eq!(job["spec"]["template"]["spec"], template()["spec"]);
    assert_eq!(job["metadata"]["labels"], json!({ "team": "water" }));
    let marks = json!({ "theirs": "stays", "cronjob.kubernetes.io/instantiate": "manual",
        "homeostat.dev/created-by": id().as_str() });
    assert_eq!(job["metadata"]["annotations"], marks);
    let owner = json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "plan", "uid": cron_job().uid.as_str(),
        "controller": true }]);
    assert_eq!(job["metadata"]["ownerReferences"], owner, "without a right on finalizers");
    assert_eq!(made_by(&server).await.as_deref(), Some(id().as_str()));
}

#[tokio::test]
async fn a_run_from_the_backlog_whose_answer_is_lost_is_found_by_its_mark_and_made_once() {
    let server = server();
    server.trouble(Method::POST, "/jobs", 1, Trouble::LostAnswer);
    let lost = send(&server, &cron_job(), &create()).await;
    assert!(matches!(lost, Err(EffectError::Unknown(_))), "{lost:?}");
    assert_eq!(made_by(&server).await.as_deref(), Some(id().as_str()));
    let first = made(&server);
    let again = send(&server, &cron_job(), &create()).await;
    assert!(matches!(&again, Err(EffectError::Conflict(why)) if why.contains("already")), "{again:?}");
    assert_eq!(made(&server), first);
    let tried = ApiActuator::new(server.client()).dry_run(&cron_job(), &create(), &id()).await;
    assert!(matches!(tried, Err(Refusal::WouldFail(_))), "{tried:?}");

    let theirs = self::server();
    let name = format!("plan-backlog-{SLOT}");
    theirs.put("jobs", json!({ "metadata": { "name": name, "namespace": "water" }, "spec": {} }));
    assert_eq!(made_by(&theirs).await.as_deref(), Some("somebody else"));
    assert!(matches!(send(&theirs, &cron_job(), &create()).await, Err(EffectError::Conflict(_))));
}

#[tokio::test]
async fn no_run_is_made_of_a_cron_job_that_was_suspended_changed_or_replaced_meanwhile() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let old = hands.effect(&cron_job(), &create(), &id(), &Name::from("1")).await;
    assert!(matches!(old, Err(EffectError::Conflict(_))), "{old:?}");
    let other = Target { uid: Uid::new("another"), ..cron_job() };
    let replaced = send(&server, &other, &create()).await;
    assert!(matches!(replaced, Err(EffectError::Conflict(_))), "{replaced:?}");
    let of_job = send(&server, &job(), &create()).await;
    assert!(matches!(of_job, Err(EffectError::Denied(_))), "a Job has no template of Jobs: {of_job:?}");
    let mut cron = server.get("cronjobs", "water", "plan").unwrap();
    cron["spec"]["suspend"] = json!(true);
    server.put("cronjobs", cron);
    let suspended = send(&server, &cron_job(), &create()).await;
    assert!(
        matches!(&suspended, Err(EffectError::Conflict(why)) if why.contains("suspended")),
        "{suspended:?}"
    );
    assert!(hands.dry_run(&cron_job(), &create(), &id()).await.is_err());
    server.remove("cronjobs", "water", "plan", true);
    let gone = hands.effect(&cron_job(), &create(), &id(), &Name::from("1")).await;
    assert_eq!(gone, Err(EffectError::NotFound));
    assert_eq!((made(&server), hands.fresh_for(&cron_job(), &create()).await), (None, Ok(None)));
}

#[tokio::test]
async fn the_next_runs_of_a_cron_job_get_their_size_in_the_template() {
    let server = server();
    ApiActuator::new(server.client()).dry_run(&cron_job(), &resize(), &id()).await.unwrap();
    assert_eq!(next_memory(&server).await, Some(512), "a dry run only asks");
    send(&server, &cron_job(), &resize()).await.unwrap();
    let sent = server.seen().into_iter().rfind(support::Seen::writes).unwrap();
    assert_eq!(sent.line(), "PATCH /apis/batch/v1/namespaces/water/cronjobs/plan");
    assert_eq!(sent.content_type, "application/strategic-merge-patch+json", "other containers stay");
    assert_eq!(sent.body["metadata"]["uid"], cron_job().uid.as_str());
    assert_eq!(next_memory(&server).await, Some(1_024));
    let found = server.get("cronjobs", "water", "plan").unwrap();
    assert_eq!(found["spec"]["jobTemplate"]["spec"]["suspend"], true, "its runs still wait for their turn");
}

#[tokio::test]
async fn a_template_that_changed_is_gone_or_whose_answer_is_lost_is_resolved_by_reading() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let old = hands.effect(&cron_job(), &resize(), &id(), &Name::from("1")).await;
    assert!(matches!(old, Err(EffectError::Conflict(_))), "{old:?}");
    let other = Target { uid: Uid::new("another"), ..cron_job() };
    let replaced = send(&server, &other, &resize()).await;
    assert!(matches!(replaced, Err(EffectError::Conflict(_))), "{replaced:?}");
    assert_eq!(next_memory(&server).await, Some(512));

    server.trouble(Method::PATCH, "/cronjobs/plan", 1, Trouble::LostAnswer);
    let lost = send(&server, &cron_job(), &resize()).await;
    assert!(matches!(lost, Err(EffectError::Unknown(_))), "{lost:?}");
    assert_eq!(next_memory(&server).await, Some(1_024), "it is there");

    let version = fresh(&server, &cron_job()).await.unwrap().resource_version;
    server.remove("cronjobs", "water", "plan", true);
    let gone = hands.effect(&cron_job(), &resize(), &id(), &version).await;
    assert_eq!(gone, Err(EffectError::NotFound));
}
