//! What Homeostat's own objects say since a scenario began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeostat_crds::ActionKind;
use homeostat_crds::v1alpha1::action::{ActionState, GuardResult};
use homeostat_crds::v1alpha1::incident::IncidentState;
use homeostat_crds::v1alpha1::{Action, Incident};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::audit::{Audit, Eviction};
use crate::stage::{SOON, Stage, until};

/// Every guard in running order.
pub const GUARDS: [&str; 15] = [
    "KillSwitch",
    "Invariants",
    "Level",
    "FreezeWindow",
    "Evidence",
    "Hysteresis",
    "Cooldown",
    "Ownership",
    "Storm",
    "Budget",
    "Breaker",
    "DryRun",
    "Approval",
    "Intent",
    "FreshRead",
];

/// All incidents.
pub async fn incidents(stage: &Stage) -> Vec<Incident> {
    Api::all(stage.client.clone())
        .list(&ListParams::default())
        .await
        .map_or_else(|_| Vec::new(), |list| list.items)
}

/// All actions.
pub async fn actions(stage: &Stage) -> Vec<Action> {
    Api::all(stage.client.clone())
        .list(&ListParams::default())
        .await
        .map_or_else(|_| Vec::new(), |list| list.items)
}

/// How far an action is.
pub fn state(action: &Action) -> Option<ActionState> {
    action.status.as_ref().and_then(|status| status.state)
}

/// Whether an effect was sent; telling people is none.
pub fn has_effect(action: &Action) -> bool {
    let instants = action.status.as_ref().and_then(|status| status.instants.as_ref());
    action.spec.action != ActionKind::Notify && instants.is_some_and(|instants| instants.sent.is_some())
}

/// Whether nothing more happens to an action.
pub fn has_ended(action: &Action) -> bool {
    use ActionState as S;
    let ends = [S::Refused, S::Verified, S::Undone, S::Failed, S::Cancelled, S::HandedOver];
    state(action).is_some_and(|state| ends.contains(&state))
}

/// Whether an incident is over.
pub fn is_over(incident: &Incident) -> bool {
    incident.status.as_ref().and_then(|status| status.state) == Some(IncidentState::Resolved)
}

/// Whether nothing abnormal is left: it is over, or people have it and nothing is found any more.
pub fn is_calm(incident: &Incident) -> bool {
    let Some(status) = &incident.status else { return false };
    let handed_over = status.state == Some(IncidentState::HandedOver);
    is_over(incident) || handed_over && status.findings.iter().all(|finding| !finding.active)
}

/// Whether nothing was found but what a busy processor or disk does to the application: slow answers, a node on which all
/// answer late (a start of Homeostat is such a neighbour on a small machine) and, where errors are not what the scenario is
/// about, those of a store that is busy.
fn is_noise(incident: &Incident, errors_count: bool) -> bool {
    let busy = ["Slow", "NoisyNeighbour", "ErrorBurst"];
    let noise = if errors_count { &busy[..2] } else { &busy[..] };
    let findings = incident.status.as_ref().map_or(&[][..], |status| &status.findings);
    !findings.is_empty() && findings.iter().all(|finding| noise.contains(&&*finding.kind))
}

/// Whether an incident names the service, or a pod of it, among its causes.
pub fn names(incident: &Incident, service: &str) -> bool {
    let pod = format!("{service}-");
    let causes = incident.status.iter().flat_map(|status| &status.causes);
    causes.into_iter().any(|cause| match cause.entity.kind.as_str() {
        "Pod" => cause.entity.name.starts_with(&pod),
        _ => cause.entity.name == service,
    })
}

/// Asserts that every guard was asked, in order, and that none refused.
pub fn assert_all_guards_passed(action: &Action) {
    let guards = &action.status.as_ref().unwrap().guards;
    let asked: Vec<&str> = guards.iter().map(|guard| guard.name.as_str()).collect();
    assert_eq!(asked, GUARDS, "guards of {}", action.name_any());
    for guard in guards {
        let good = matches!(guard.result, GuardResult::Passed | GuardResult::Unset);
        assert!(good, "{} of {}: {guard:?}", guard.name, action.name_any());
    }
}

/// The newest action of this kind in a namespace, as soon as it has had its effect.
pub async fn newest(stage: &Stage, namespace: &str, kind: ActionKind) -> Action {
    let api: Api<Action> = Api::namespaced(stage.client.clone(), namespace);
    until(&format!("a {kind:?} with its effect"), SOON, async || {
        let mut all = api.list(&ListParams::default()).await.ok()?.items;
        all.sort_by_key(ResourceExt::creation_timestamp);
        all.into_iter().rev().find(|action| {
            action.spec.action == kind
                && matches!(state(action), Some(ActionState::Verifying | ActionState::Verified))
        })
    })
    .await
}

/// What was there before, so that what is new can be told.
pub struct Since {
    incidents: BTreeMap<String, i32>,
    actions: BTreeSet<String>,
    audit: Audit,
    errors: bool,
}

impl Since {
    /// From now on.
    pub async fn now(stage: &Stage) -> Self {
        let reopened = |incident: &Incident| incident.status.as_ref().map_or(0, |status| status.reopen_count);
        let known = |incident: Incident| (incident.uid().unwrap(), reopened(&incident));
        Self {
            incidents: incidents(stage).await.into_iter().map(known).collect(),
            actions: actions(stage).await.iter().map(|action| action.uid().unwrap()).collect(),
            audit: Audit::from_now(stage.cluster().layout().audit_log()),
            errors: false,
        }
    }

    /// Errors are what the scenario is about.
    pub fn with_errors(self) -> Self {
        Self { errors: true, ..self }
    }

    /// Incidents that opened or came back, without those that only say that this machine is busy.
    pub async fn incidents(&self, stage: &Stage) -> Vec<Incident> {
        let mut all = incidents(stage).await;
        all.retain(|incident| {
            let reopened = incident.status.as_ref().map_or(0, |status| status.reopen_count);
            let new = self.incidents.get(&incident.uid().unwrap()).is_none_or(|before| reopened > *before);
            new && !is_noise(incident, self.errors)
        });
        all
    }

    /// New actions.
    pub async fn actions(&self, stage: &Stage) -> Vec<Action> {
        let mut all = actions(stage).await;
        all.retain(|action| !self.actions.contains(&action.uid().unwrap()));
        all
    }

    /// Evictions that the API server carried out.
    pub fn evictions(&self) -> Vec<Eviction> {
        self.audit.evictions()
    }

    /// What the API server was asked to change.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Waits for an incident about the service.
    pub async fn incident(&self, stage: &Stage, service: &str, limit: Duration) -> Incident {
        until(&format!("an incident that names {service}"), limit, async || {
            self.incidents(stage).await.into_iter().find(|incident| names(incident, service))
        })
        .await
    }

    /// Waits for a new action of this kind of state.
    pub async fn action(&self, stage: &Stage, wanted: ActionState, limit: Duration) -> Action {
        until(&format!("an action that is {wanted:?}"), limit, async || {
            self.actions(stage).await.into_iter().find(|action| state(action) == Some(wanted))
        })
        .await
    }

    /// Waits until the incident about the service is over, and asserts that there was no other.
    pub async fn resolved(&self, stage: &Stage, service: &str, limit: Duration) -> Incident {
        until(&format!("the end of the incident about {service}"), limit, async || {
            let all = self.incidents(stage).await;
            (all.iter().any(|incident| names(incident, service)) && all.iter().all(is_over)).then_some(())
        })
        .await;
        self.only_incident(stage, service).await
    }

    /// The one incident, which must be about the service.
    pub async fn only_incident(&self, stage: &Stage, service: &str) -> Incident {
        let mut all = self.incidents(stage).await;
        let cause = |one: &Incident| one.status.as_ref().and_then(|status| status.cause.clone());
        let told: Vec<_> = all.iter().map(|one| (one.name_any(), cause(one))).collect();
        assert_eq!(all.len(), 1, "one fault, several incidents: {told:?}");
        let incident = all.remove(0);
        assert!(names(&incident, service), "{service} is not among the causes: {told:?}");
        incident
    }

    /// The actions that changed something.
    pub async fn effects(&self, stage: &Stage) -> Vec<Action> {
        let mut all = self.actions(stage).await;
        all.retain(has_effect);
        all
    }

    /// Asserts that nothing was done to the application by Homeostat.
    pub async fn assert_nothing_done(&self, stage: &Stage) {
        assert_eq!(self.evictions(), []);
        let done: Vec<_> = self.effects(stage).await.iter().map(ResourceExt::name_any).collect();
        assert!(done.is_empty(), "actions with an effect: {done:?}");
    }
}
