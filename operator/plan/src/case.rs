//! One incident with everything that the snapshot knows about it, or the reason why there is nothing to plan.

use crate::decision::{Stop, words};
use crate::history::History;
use crate::nodes;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{
    ActionKind, Cause, ControllerRecord, Entity, Finding, FindingKind, Incident, IncidentState, Level,
    PodRecord, SignedDuration, Snapshot, TenantName, TenantPolicy, Timestamp, WorkloadKey, WorkloadPolicy,
};
use std::sync::Arc;

/// Time after which an incident without a cause goes to people.
const CAUSE_UNKNOWN: SignedDuration = SignedDuration::from_mins(10);

/// An incident that something may be done about.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The incident.
    pub incident: &'a Incident,
    /// Its first-ranked cause.
    pub cause: &'a Cause,
    /// Everything else.
    pub snapshot: &'a Snapshot,
    /// The instant of the decision.
    pub now: Timestamp,
    /// The workload that the incident is about, with the tenant that owns it.
    pub subject: Option<Subject<'a>>,
    /// What was already done.
    pub history: History<'a>,
}

/// A workload under control.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its key.
    pub key: &'a WorkloadKey,
    /// What people allow.
    pub policy: &'a Arc<WorkloadPolicy>,
    /// Who owns it.
    pub tenant: &'a Arc<TenantPolicy>,
    /// The controller that it targets, when it exists.
    pub controller: Option<&'a Arc<ControllerRecord>>,
}

impl<'a> Case<'a> {
    pub(crate) fn open(incident: &'a Incident, snapshot: &'a Snapshot, now: Timestamp) -> Result<Self, Stop> {
        match incident.state {
            IncidentState::HandedOver => {
                let why = incident.handed_over.as_deref().unwrap_or("no reason was recorded");
                return Err(Stop::nothing(format!("people have taken over: {why}")));
            }
            IncidentState::Resolved => return Err(Stop::nothing("the incident is resolved")),
            IncidentState::Open | IncidentState::Acting | IncidentState::Mitigated => {}
        }
        let Some(cause) = incident.top_cause() else {
            let age = now.duration_since(incident.instants.detected);
            if age >= CAUSE_UNKNOWN && incident.state != IncidentState::Mitigated {
                return Err(Stop::hand_over(format!("no cause was found within {}", words(age))));
            }
            return Err(Stop::wait("the cause is not known yet"));
        };
        if cause.kind == FindingKind::NoData || matches!(cause.entity, Entity::Source { .. }) {
            return Err(Stop::nothing(format!(
                "{} is silent: that is told, and nothing is repaired on its account",
                cause.entity
            )));
        }
        if !snapshot.ready() {
            return Err(Stop::wait("not everything in the cluster has been listed yet"));
        }
        if let Some(report) = snapshot.sources.get("kubernetes")
            && let SourceState::Down(why) = &report.state
        {
            return Err(Stop::wait(format!(
                "the cluster cannot be watched ({why}): what is known may be old"
            )));
        }
        let subject = match &incident.workload {
            Some(key) => Some(Subject::find(key, incident, snapshot)?),
            None => None,
        };
        if let (Some(own), Some(subject)) = (cause.entity.workload(), &subject)
            && own != subject.key
        {
            return Err(Stop::wait(format!("the cause is {own}, but the incident is about {}", subject.key)));
        }
        if let (None, Some(own), Some(subject)) = (&incident.tenant, cause.entity.workload(), &subject) {
            return Err(Stop::wait(format!(
                "the incident is no tenant's (yet), but {own} belongs to tenant {}",
                subject.tenant.name
            )));
        }
        // Without it the course of this incident is not known; under way it is in the way of any other on the workload.
        let unread = snapshot.unread.values().find(|action| {
            let same = incident.workload.as_ref() == Some(&action.workload);
            action.incident == incident.id || (same && action.state.in_flight())
        });
        if let Some(action) = unread {
            return Err(Stop::wait(action.advice()));
        }
        let history = History::of(incident, snapshot);
        Ok(Self { incident, cause, snapshot, now, subject, history })
    }

    /// The cause is a workload under control, or one of its pods: something could be restarted.
    pub fn restartable(&self) -> Result<&Subject<'a>, String> {
        match (&self.subject, self.cause.entity.workload()) {
            (Some(subject), Some(own)) if own == subject.key => Ok(subject),
            (_, Some(own)) => Err(format!("{own} is not the workload of this incident")),
            (_, None) => Err(format!("{} is no workload under control", self.cause.entity)),
        }
    }

    /// Active findings that support the first-ranked cause.
    pub fn supporting(&self) -> impl Iterator<Item = &'a Finding> {
        let cause = self.cause;
        self.incident.findings.iter().filter(move |finding| {
            finding.active
                && finding.kind == cause.kind
                && (finding.entity == cause.entity
                    || (cause.entity.workload().is_some()
                        && finding.entity.workload() == cause.entity.workload()
                        && same_pod(&finding.entity, &cause.entity)))
        })
    }

    /// An active finding of another kind than the cause.
    pub(crate) fn also(&self, kind: FindingKind) -> Option<&'a Finding> {
        let mut active = self.incident.findings.iter().filter(|finding| finding.active);
        active.find(|finding| finding.kind == kind && kind != self.cause.kind)
    }

    /// How sure the findings behind the first-ranked cause are, 0 to 1: also those that ended, for what is
    /// healed stays explained. The confidence of the cause itself ranks causes and says less.
    pub fn sureness(&self) -> f64 {
        let own = self.incident.findings.iter().filter(|finding| {
            finding.kind == self.cause.kind
                && (finding.entity == self.cause.entity
                    || (finding.entity.workload().is_some()
                        && finding.entity.workload() == self.cause.entity.workload()))
        });
        own.map(|finding| finding.confidence).reduce(f64::max).unwrap_or(self.cause.confidence)
    }

    /// Since when it is so: first bad sample of the findings that support the cause.
    pub fn since(&self) -> Timestamp {
        let first = self.supporting().map(|finding| finding.since).min();
        first.unwrap_or(self.incident.instants.impact_start).min(self.now)
    }

    /// When the evidence for the cause was renewed last.
    pub fn last_seen(&self) -> Option<Timestamp> {
        self.supporting().map(|finding| finding.last_seen.min(self.now)).max()
    }

    /// Whether the workload of this incident answers nearly everything wrong, by itself and no later than usual: what it waits
    /// for, or a node that is short of processor time, would make it late.
    pub(crate) fn wrong_at_once(&self) -> bool {
        let health = self.subject.as_ref().and_then(|subject| self.snapshot.health.get(subject.key));
        health.is_some_and(|health| health.wrong_at_once.is_some())
    }

    /// When an action on the workload of this incident was last seen to help.
    pub fn healed_at(&self) -> Option<Timestamp> {
        self.history.healed_at(self.subject.as_ref()?.key)
    }

    /// How long it is open with nothing under way. Of what nothing is seen now, from when this process began to look: nobody
    /// may have looked before.
    pub fn idle(&self) -> SignedDuration {
        let began = self.snapshot.synced_since.filter(|_| self.supporting().next().is_none());
        let ended = self.history.last_end().unwrap_or(Timestamp::MIN);
        let start = self.since().max(ended).max(began.unwrap_or(Timestamp::MIN));
        self.now.duration_since(start.max(self.incident.instants.detected.min(self.now)))
    }

    /// Level that is allowed for an action; actions on nodes belong to the platform tenant.
    pub(crate) fn level(&self, action: ActionKind) -> Level {
        let tenant = if nodes::about_node(action) {
            self.snapshot.tenants.get(&TenantName::new(PLATFORM_TENANT))
        } else {
            self.subject.as_ref().map(|subject| subject.tenant)
        };
        tenant.map_or(Level::Observe, |tenant| tenant.level(action)).min(self.snapshot.control.ceiling)
    }

    /// How long the cause must have lasted before something is done on account of this tenant.
    pub(crate) fn minimum_duration(&self, tenant: &TenantName) -> SignedDuration {
        let kind = self.cause.kind;
        let tenant = self.snapshot.tenants.get(tenant);
        tenant.map_or(kind.minimum_duration(), |tenant| tenant.limits.hysteresis.minimum(kind))
    }

    /// Replicas of what the workload targets that are ready, those on nodes that do not answer left out.
    pub fn ready(&self) -> i32 {
        let Some(controller) = self.subject.as_ref().and_then(|subject| subject.controller) else { return 0 };
        let lost = self.pods().into_iter().filter(|pod| pod.serving() && !self.snapshot.serves(pod)).count();
        controller.ready.saturating_sub(i32::try_from(lost).unwrap_or(i32::MAX)).max(0)
    }

    /// Pods of the workload of this incident, in name order.
    pub fn pods(&self) -> Vec<&'a Arc<PodRecord>> {
        self.subject.as_ref().map_or_else(Vec::new, |subject| self.snapshot.pods_of(subject.key).collect())
    }
}

/// Two entities of one workload that do not speak of two different pods.
fn same_pod(one: &Entity, other: &Entity) -> bool {
    match (one, other) {
        (Entity::Pod { uid: one, .. }, Entity::Pod { uid: other, .. }) => one == other,
        _ => true,
    }
}

impl<'a> Subject<'a> {
    fn find(key: &'a WorkloadKey, incident: &Incident, snapshot: &'a Snapshot) -> Result<Self, Stop> {
        let Some(policy) = snapshot.workloads.get(key) else {
            return Err(Stop::nothing(format!("{key} is not under control (any more)")));
        };
        let Some(tenant) = snapshot.tenant_of_namespace(&key.namespace) else {
            return Err(Stop::nothing(format!(
                "no tenant owns the namespace of {key}: nobody allowed anything"
            )));
        };
        if let Some(name) = &incident.tenant
            && *name != tenant.name
        {
            return Err(Stop::nothing(format!(
                "the incident belongs to tenant {name}, but {key} belongs to tenant {}",
                tenant.name
            )));
        }
        Ok(Self { key, policy, tenant, controller: snapshot.controller_of(key) })
    }
}
