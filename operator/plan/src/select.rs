//! Which playbook is followed: the first, by priority and name, that fits the cause and whose conditions hold.

use crate::case::Case;
use crate::decision::{Stop, words};
use crate::{kubelet, ladder, release, resize};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::{ActionKind, Entity, FindingKind, IncidentState};
use homeostat_playbooks::{Facts, IncidentFacts, Playbook, TenantFacts, Truth, WorkloadFacts};
use std::collections::BTreeSet;

pub(crate) fn choose<'p>(
    case: &Case<'_>,
    playbooks: &'p [Playbook],
    notes: &mut Vec<String>,
) -> Result<&'p Playbook, Stop> {
    let kinds: BTreeSet<_> =
        case.incident.findings.iter().filter(|finding| finding.active).map(|finding| finding.kind).collect();
    let mut fitting: Vec<&Playbook> = playbooks
        .iter()
        .filter(|playbook| playbook.trigger.fits(case.cause.kind, kinds.iter().copied()))
        .collect();
    fitting.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
    // What changes nothing gives nothing up, nor does what people switched off or do not allow here.
    let allowed = || fitting.iter().filter(|playbook| barred(case, playbook).is_none());
    let acting = allowed().filter(|playbook| !only_tells(playbook)).map(|playbook| playbook.limits.give_up);
    let telling = || allowed().map(|playbook| playbook.limits.give_up).min();
    let any = || fitting.iter().map(|playbook| playbook.limits.give_up).min();
    let Some(give_up) = acting.min().or_else(telling).or_else(any) else {
        return Err(Stop::nothing(format!("no playbook is for {}", case.cause.kind)));
    };
    let facts = facts(case);
    // Why nothing can be done is said before why nothing is to be told.
    let (mut reasons, mut told) = (Vec::new(), Vec::new());
    for playbook in fitting {
        match unusable(case, playbook, &facts) {
            None => {
                notes.push(format!("playbook {} fits {}", playbook.name, case.cause.kind));
                return Ok(playbook);
            }
            Some(reason) => {
                notes.push(reason.clone());
                if only_tells(playbook) { told.push(reason) } else { reasons.push(reason) }
            }
        }
    }
    let reason = if reasons.is_empty() { told } else { reasons }.join("; ");
    if case.incident.state == IncidentState::Mitigated {
        return Err(Stop::nothing(format!("it is healed; {reason}")));
    }
    let idle = case.idle();
    if idle >= give_up {
        return Err(ladder::over(case, || {
            format!("no playbook could be used within {}: {reason}", words(idle))
        }));
    }
    Err(Stop::until(crate::decision::later(case.now, give_up - idle), reason))
}

/// It changes nothing.
fn only_tells(playbook: &Playbook) -> bool {
    playbook.ladder.iter().all(|rung| rung.action == ActionKind::Notify)
}

/// Why people do not want this playbook to be used here.
fn barred(case: &Case<'_>, playbook: &Playbook) -> Option<String> {
    let name = &playbook.name;
    if playbook.paused {
        return Some(format!("playbook {name} is switched off"));
    }
    if case.cause.kind == FindingKind::OwnershipConflict && !only_tells(playbook) {
        return Some(format!("playbook {name} would act, and {} is for people alone", case.cause.kind));
    }
    if let Some(subject) = &case.subject
        && !only_tells(playbook)
        && !subject.policy.playbooks.is_empty()
        && !subject.policy.playbooks.contains(name)
    {
        return Some(format!("{} does not allow playbook {name}", subject.key));
    }
    None
}

/// Why a playbook that fits cannot be used now.
fn unusable(case: &Case<'_>, playbook: &Playbook, facts: &Facts) -> Option<String> {
    if let Some(reason) = barred(case, playbook) {
        return Some(reason);
    }
    let name = &playbook.name;
    if let Some(needed) = playbook.level_needed
        && let Some(rung) = playbook.ladder.iter().find(|rung| rung.action != ActionKind::Notify)
        && case.level(rung.action) < needed
    {
        let level = case.level(rung.action).name();
        return Some(format!(
            "playbook {name} is only for {} and above, {} has {level}",
            needed.name(),
            rung.action
        ));
    }
    let (sure, needed) = (case.sureness(), playbook.trigger.minimum_confidence);
    // Written so that a confidence that is not a number is not enough.
    if !matches!(sure.partial_cmp(&needed), Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal)) {
        return Some(format!("playbook {name} needs a confidence of {needed}, the finding has {sure:.3}"));
    }
    playbook.when.iter().find_map(|when| match when.expression.evaluate(facts) {
        Truth::Holds => None,
        Truth::DoesNotHold => {
            Some(format!("playbook {name}: {} does not hold ({})", when.name, when.expression.text()))
        }
        Truth::Unusable(why) => Some(format!("playbook {name}: {} cannot be decided: {why}", when.name)),
    })
}

/// Signals that people named come from metrics or from spans, and nothing tells from which: one that is down, or of which
/// nothing is known, is enough to doubt them. The first-ranked cause itself is judged by the guards.
fn doubtful(case: &Case<'_>, kind: FindingKind) -> bool {
    let named = matches!(
        kind,
        FindingKind::MemoryGrowing
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling
            | FindingKind::QueueGrowing
            | FindingKind::SignalAbnormal
            | FindingKind::CertificateExpiring
    );
    let delivers = |family: &str| {
        let mut own = case.snapshot.sources.iter().filter(|(name, _)| name.starts_with(family)).peekable();
        own.peek().is_some() && !own.any(|(_, report)| matches!(report.state, SourceState::Down(_)))
    };
    named && kind != case.cause.kind && !(delivers("prometheus") && delivers("otlp"))
}

/// What conditions can ask about.
pub fn facts(case: &Case<'_>) -> Facts {
    let pods = case.pods();
    let sick: Vec<_> = pods
        .iter()
        .copied()
        .filter(|pod| match &case.cause.entity {
            Entity::Pod { uid, .. } => pod.uid == *uid,
            _ => true,
        })
        .collect();
    let releases = case.subject.as_ref().and_then(|subject| release::compare(case, subject, &pods));
    let active =
        case.incident.findings.iter().filter(|finding| finding.active && !doubtful(case, finding.kind));
    let findings: BTreeSet<_> = active.map(|finding| finding.kind).collect();
    Facts {
        incident: IncidentFacts {
            kind: case.cause.kind.name().to_owned(),
            confidence: case.sureness(),
            age_seconds: case.now.duration_since(case.incident.instants.impact_start).as_secs_f64(),
            state: format!("{:?}", case.incident.state),
            severity: format!("{:?}", case.incident.severity),
            entity_kind: case.cause.entity.kind().to_owned(),
            restarts: sick.iter().map(|pod| i64::from(pod.restarts())).sum(),
            useful_actions: i64::from(case.history.useful()),
            useless_restarts: i64::from(case.history.useless_restarts()),
            out_of_memory: sick.iter().any(|pod| resize::out_of_memory(pod).is_some()),
            out_of_memory_again: sick.iter().any(|pod| resize::out_of_memory_again(pod, case.now)),
            kubelet_back_off: sick.iter().any(|pod| kubelet::backs_off(pod)),
            reopen_count: i64::from(case.incident.reopen_count),
            affected: i64::try_from(case.incident.affected.len()).unwrap_or(i64::MAX),
            findings: findings.into_iter().map(|kind| kind.name().to_owned()).collect(),
        },
        workload: case.subject.as_ref().map(|subject| WorkloadFacts {
            name: subject.key.name.to_string(),
            namespace: subject.key.namespace.to_string(),
            target_kind: format!("{:?}", subject.policy.target.kind),
            archetype: format!("{:?}", subject.policy.archetype),
            criticality: i64::from(subject.policy.criticality),
            replicas: subject.controller.map_or(0, |controller| i64::from(controller.replicas)),
            ready: i64::from(case.ready()),
            rolling_out: subject.controller.is_some_and(|controller| controller.rolling_out()),
            surges: subject.controller.is_some_and(|controller| controller.surges),
            pods: i64::try_from(pods.len()).unwrap_or(i64::MAX),
            maximum_useless_restarts: i64::from(subject.policy.maximum_useless_restarts),
            new_release_fails: releases.is_some_and(|releases| releases.new_fails),
            memory_may_grow: resize::may_grow(case.snapshot, subject, &sick),
            old_release_serves: releases.is_some_and(|releases| releases.old_serves),
        }),
        tenant: case.subject.as_ref().map(|subject| TenantFacts { name: subject.tenant.name.to_string() }),
    }
}
