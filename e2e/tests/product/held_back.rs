//! Everything that keeps Homeostat from acting: the default level, the kill switch, a pause, unusable Workloads.

use homeostat_cluster::people::People;
use homeostat_crds::v1alpha1::Tenant;
use homeostat_crds::v1alpha1::action::{ActionState, GuardResult};
use homeostat_crds::v1alpha1::control_plane::KillSwitch;
use homeostat_crds::v1alpha1::incident::TimelineKind;
use homeostat_crds::{ConditionStatus, ConditionType, Reason, conditions};
use homeostat_e2e::demo::platform::run;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::healing::healed;
use crate::seen::{self, Since};
use crate::stage::{EXTRA, SOON, Stage, until};

/// Without an automation line an eviction is proposed, after a dry run, and not done.
pub async fn default_level(stage: &Stage) {
    stage.ready().await;
    let tenants: Api<Tenant> = Api::all(stage.client.clone());
    stage.patch(&tenants, "food", &json!({"spec": {"automation": null}})).await;
    let since = Since::now(stage).await;
    let pod = stage.signal("accounting", Signal::SIGSTOP).await;
    let action = since.action(stage, ActionState::Proposed, SOON).await;
    let untouched = stage.is_untouched(&pod).await;
    stage.wake(&pod).await;
    assert!(untouched, "{} was touched", pod.name);
    assert_eq!(action.spec.target.uid, pod.uid);
    let status = action.status.unwrap();
    let message = status.message.unwrap_or_default();
    assert!(message.contains("would") && message.contains("Recommend"), "{message}");
    let dry_run = status.guards.iter().find(|guard| guard.name == "DryRun");
    assert_eq!(dry_run.map(|guard| guard.result), Some(GuardResult::Passed));
    since.resolved(stage, "accounting", SOON).await;
    since.assert_nothing_done(stage).await;
}

/// The README's commands stop every action, with the reason in the record, and let them happen again.
pub async fn kill_switch(stage: &Stage) {
    stage.ready().await;
    reminded(stage).await;
    readme(stage, "\"engaged\":true").await;
    stage.control_says(ConditionType::KillSwitchEngaged, true).await;
    let since = Since::now(stage).await;
    let pod = stage.signal("notification", Signal::SIGSTOP).await;
    let action = since.action(stage, ActionState::Refused, SOON).await;
    assert!(stage.is_untouched(&pod).await, "{} was touched", pod.name);
    since.assert_nothing_done(stage).await;
    let guards = action.status.unwrap().guards;
    let refusal = guards.last().unwrap();
    assert_eq!((refusal.name.as_str(), refusal.result), ("KillSwitch", GuardResult::Refused), "{guards:?}");
    let reason = stage.control_plane().await.spec.kill_switch.reason.unwrap();
    let said = format!("{:?} {:?}", refusal.observed, refusal.message);
    assert!(said.contains(&reason), "{said} does not give the reason `{reason}`");

    readme(stage, "\"engaged\":false").await;
    healed(stage, &since, "notification", &pod).await;
}

/// Who engages it without the own name is told so by the API server, and it is engaged all the same.
async fn reminded(stage: &Stage) {
    let me = stage.kubectl(&["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"]).await;
    let me = me.trim();
    for (switch, says) in [
        (json!({"engaged": true, "reason": "drill", "by": null}), Some(format!("by to {me}"))),
        (
            json!({"engaged": true, "reason": "drill", "by": "ana"}),
            Some(format!("says ana, and you are {me}")),
        ),
        (json!({"engaged": true, "reason": " ", "by": me}), Some("set spec.killSwitch.reason".to_owned())),
        (json!({"engaged": true, "reason": "drill", "by": me}), None),
        (json!({"engaged": false, "reason": null, "by": null}), None),
    ] {
        let warnings = set_switch(stage, &switch).await;
        let told = match &says {
            Some(words) => warnings.len() == 1 && warnings[0].contains(words),
            None => warnings.is_empty(),
        };
        assert!(told, "{switch}: {warnings:?}");
        assert_eq!(
            json!(stage.control_plane().await.spec.kill_switch.engaged),
            switch["engaged"],
            "{switch}"
        );
    }
    // The command line writes the caller's own name.
    let people = People::new(stage.client.clone());
    assert_eq!(people.stop("drill").await.unwrap().as_deref(), Some(me));
    let switch = stage.control_plane().await.spec.kill_switch;
    assert!(switch.engaged && switch.by.as_deref() == Some(me), "{switch:?}");
    people.release().await.unwrap();
    assert_eq!(stage.control_plane().await.spec.kill_switch, KillSwitch::default());
}

/// Sets the switch as `kubectl patch` does; gives what that would print as warnings.
async fn set_switch(stage: &Stage, switch: &Value) -> Vec<String> {
    let body = json!({"spec": {"killSwitch": switch}}).to_string();
    let request = http::Request::patch("/apis/homeostat.dev/v1alpha1/controlplanes/default")
        .header("content-type", "application/merge-patch+json")
        .body(Body::from(body.into_bytes()))
        .unwrap();
    let answer = stage.client.send(request).await.unwrap();
    assert!(answer.status().is_success(), "{switch}: {}", answer.status());
    let warnings = answer.headers().get_all("warning").iter();
    warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect()
}

/// Runs the `kubectl patch` of the README that has this in it, as people copy it.
async fn readme(stage: &Stage, with: &str) {
    let text = stage.read("README.md");
    let start = "kubectl patch controlplane default";
    let commands = text.match_indices(start).filter_map(|(at, _)| text[at..].split_once("}}}'"));
    let (command, _) = commands.into_iter().find(|(command, _)| command.contains(with)).unwrap();
    assert!(!command.contains(['\n', '`']), "{command}");
    let mut shell = Command::new("sh");
    let path = format!(
        "{}:{}",
        stage.cluster().tools().kubernetes.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    shell.arg("-c").arg(format!("{command}}}}}}}'")).env("PATH", path);
    shell.env("KUBECONFIG", stage.cluster().kubeconfig_path());
    run(shell, None).await.unwrap();
}

/// A pause, a target that does not exist and a second Workload on one target are told in conditions; nothing is done.
pub async fn unusable_workloads(stage: &Stage) {
    stage.ready().await;
    let api = stage.workloads();
    let (missing, twice) = (format!("{EXTRA}missing"), format!("{EXTRA}twice"));
    for (name, target) in [(&missing, "nowhere"), (&twice, "order")] {
        let workload = serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload", "metadata": {"name": name},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
                "archetype": "Service",
            },
        }));
        api.create(&PostParams::default(), &workload.unwrap()).await.unwrap();
    }
    stage.patch(&api, "order", &json!({"spec": {"paused": true}})).await;
    let (no, yes) = (ConditionStatus::False, ConditionStatus::True);
    for (name, condition, status, reason) in [
        (&*missing, ConditionType::TargetFound, no, Reason::TargetNotFound),
        (&*missing, ConditionType::Ready, no, Reason::TargetNotFound),
        (&*twice, ConditionType::TargetUnique, no, Reason::TargetClaimedTwice),
        (&*twice, ConditionType::Ready, no, Reason::TargetClaimedTwice),
        ("order", ConditionType::Paused, yes, Reason::Requested),
    ] {
        until(&format!("{condition} {status:?} ({reason}) of {name}"), SOON, async || {
            let status_ = api.get(name).await.ok()?.status?;
            let found = conditions::find(&status_.conditions, condition)?;
            (found.status == status && found.reason == reason.to_string()).then_some(())
        })
        .await;
    }
    // The paused one, which the second one names too.
    let since = Since::now(stage).await;
    let pod = stage.signal("order", Signal::SIGSTOP).await;
    until("a decision about the paused Workload", SOON, async || {
        let all = since.incidents(stage).await;
        let incident = all.iter().find(|incident| seen::names(incident, "order"))?;
        let decided = incident.status.iter().flat_map(|status| &status.timeline);
        let decided = decided.into_iter().any(|line| line.kind == TimelineKind::Decision);
        (decided || since.actions(stage).await.iter().any(seen::has_ended)).then_some(())
    })
    .await;
    let untouched = stage.is_untouched(&pod).await;
    stage.wake(&pod).await;
    assert!(untouched, "{} was touched", pod.name);
    since.resolved(stage, "order", SOON).await;
    since.assert_nothing_done(stage).await;
    let others: Vec<_> = seen::actions(stage)
        .await
        .into_iter()
        .filter(|action| action.spec.workload_ref.name.starts_with(EXTRA))
        .collect();
    assert!(others.is_empty(), "{:?}", others.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
}
