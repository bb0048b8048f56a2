//! What is coming for each workload, and whether the minute to act before it is now: the decision is [`ahead`]'s, what it
//! needs to know is kept here. The planner reads it from the snapshot.

use super::Kernel;
use super::past::{FAMILIES, Pasts};
use crate::hearing::Hearing;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{
    ActionKind, ActionState, Ahead, FindingKind, Incident, IncidentId, SignedDuration, Snapshot, Timestamp,
    WorkloadHealth, WorkloadKey,
};
use homeostat_scale::ahead::{self, Advice, Coming, Day, Foretold, Moment, Rhythm};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is coming is looked at so often.
const LOOK: SignedDuration = SignedDuration::from_secs(1);
/// A minute with up to this share of the day's highest load is a quiet one.
const QUIET: f64 = 0.5;
/// Seconds that a rolling restart takes: one replica, each further one, and no more in all.
const ONE_REPLICA: f64 = 300.0;
const EACH_FURTHER: f64 = 30.0;
const AT_MOST: f64 = 900.0;
/// Workloads whose load is followed.
const MOST: usize = 10_000;

/// What the loop keeps to tell what is coming.
#[derive(Default)]
pub(super) struct Foresight {
    looked: Option<Timestamp>,
    minute: Option<i64>,
    loads: BTreeMap<WorkloadKey, Followed>,
    pasts: Pasts,
    /// What is not believed any more, and was told.
    given_up: BTreeSet<(WorkloadKey, FindingKind)>,
}

/// The load of one workload over a day.
#[derive(Default)]
struct Followed {
    hearing: Hearing,
    last: Option<(i64, u64)>,
    day: Day,
}

impl Followed {
    fn read(&mut self, snapshot: &Snapshot, key: &WorkloadKey, minute: i64, now: Timestamp) {
        let answered = self.hearing.answered(snapshot, key, now).map(|(answered, _)| answered);
        let before = std::mem::replace(&mut self.last, answered.map(|answered| (minute, answered)));
        let load = answered.zip(before).map(|(answered, (since, before))| {
            answered.saturating_sub(before) as f64 / (minute - since).max(1) as f64
        });
        self.day.observe(minute, load);
    }
}

impl Foresight {
    /// Takes up what an incident says of the past of its workload. `replaced`: when its pods were replaced, as far as that is
    /// not in its history yet.
    pub(super) fn note(&mut self, incident: &Incident, replaced: Option<Timestamp>) {
        self.pasts.note(incident, replaced);
    }

    /// What incidents said of the past and found no room, since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.pasts.dropped
    }

    /// Reads the minute that is over.
    fn follow(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let minute = now.as_second().div_euclid(60);
        if self.minute == Some(minute) {
            return;
        }
        self.minute = Some(minute);
        self.loads.retain(|key, _| snapshot.workloads.contains_key(key));
        // Incidents may be listed before their workloads.
        if snapshot.ready() {
            self.pasts.retain(|key| snapshot.workloads.contains_key(key));
        }
        let answers = |health: &WorkloadHealth| health.answered > 0;
        for (key, _) in snapshot.health.iter().filter(|(_, health)| answers(health)) {
            if self.loads.len() < MOST || self.loads.contains_key(key) {
                self.loads.entry(key.clone()).or_default().read(snapshot, key, minute, now);
            }
        }
    }

    /// This moment, for a rolling restart of a workload.
    fn moment(&self, snapshot: &Snapshot, key: &WorkloadKey) -> Moment {
        let replicas = snapshot.controller_of(key).map_or(1, |controller| controller.replicas);
        let further = f64::from(replicas.max(1) - 1);
        Moment {
            load: self.loads.get(key).map_or(f64::NAN, |followed| followed.day.share()),
            quiet: QUIET,
            needs: (ONE_REPLICA + EACH_FURTHER * further).min(AT_MOST),
        }
    }
}

/// A decision as the planner reads it; `None` when nothing is coming.
fn decided(coming: Coming, moment: &Moment, since: Timestamp, what: String, now: Timestamp) -> Option<Ahead> {
    let earliest = coming.earliest?;
    let at = |seconds: f64| {
        let span = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
        now.checked_add(span).unwrap_or(now)
    };
    let wait_until = match coming.advice {
        Advice::Nothing => return None,
        Advice::Wait => Some(at(earliest - ahead::margin(moment.needs))),
        Advice::Act => None,
    };
    let why = coming.reason;
    Some(Ahead { decided: now, since, what, earliest: at(earliest), wait_until, why })
}

/// `Crashed 4 times, every 6 h 2 min; expected about 14:03`, in words that stay as long as it is expected.
fn comes_back(kind: FindingKind, rhythm: Rhythm, expected: i64, missed: usize) -> String {
    let minute = Timestamp::from_second(expected.div_euclid(60) * 60).unwrap_or(Timestamp::MAX);
    let every = every(rhythm.period);
    let doubt = if missed == 0 {
        ""
    } else {
        "; it did not come last time: after another time nothing is done until it comes again"
    };
    format!("{kind} {} times, every {every}; expected about {minute:.0}{doubt}", rhythm.times)
}

/// `6 h 2 min`.
fn every(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as i64;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

impl Kernel {
    /// Decides anew what is coming. Cheap: once a second, and only workloads for which something is, or was four times.
    pub(super) fn foresee(&mut self, now: Timestamp, changed: &mut BTreeSet<IncidentId>) {
        self.foresight.follow(&self.snapshot, now);
        // An action that ended is news at once: what was acted on is not expected any more.
        let acted = self.acted_ahead();
        if acted.is_empty() && self.foresight.looked.is_some_and(|last| now.duration_since(last) < LOOK) {
            return;
        }
        self.foresight.looked = Some(now);
        for (incident, at) in acted {
            self.foresight.note(&incident, Some(at));
        }
        let mut all = BTreeMap::new();
        for (key, kind, earliest) in self.analyser.limits() {
            let moment = self.foresight.moment(&self.snapshot, key);
            let left = earliest.duration_since(now).as_secs_f64().max(0.0);
            let coming = ahead::before_limit(Some(left), &moment);
            if let Some(ahead) = decided(coming, &moment, now, String::new(), now) {
                all.insert((key.clone(), kind), Arc::new(ahead));
            }
        }
        let mut given_up = BTreeMap::new();
        for key in self.foresight.pasts.workloads().filter(|key| self.snapshot.workloads.contains_key(*key)) {
            let (ahead, not_believed) = self.returns(key, now);
            if let Some(ahead) = ahead {
                all.insert((key.clone(), FindingKind::FaultExpected), Arc::new(ahead));
            }
            given_up.extend(not_believed.into_iter().map(|(kind, why)| ((key.clone(), kind), why)));
        }
        self.snapshot.ahead = all.into_iter().collect();
        self.tell_given_up(given_up, now, changed);
    }

    /// What of a workload is expected back first, and what is not expected any more.
    fn returns(&self, key: &WorkloadKey, now: Timestamp) -> (Option<Ahead>, Vec<(FindingKind, String)>) {
        let moment = self.foresight.moment(&self.snapshot, key);
        let (mut first, mut given_up) = (None, Vec::new());
        for kind in FAMILIES {
            let Some(past) = self.foresight.pasts.of(key, kind) else { continue };
            match ahead::before_return(&past.borrowed(), now.as_second(), &moment) {
                Foretold::Nothing(_) => {}
                Foretold::GivenUp(why) => given_up.push((kind, why)),
                Foretold::Soon { rhythm, expected, opens, missed, coming } => {
                    let what = comes_back(kind, rhythm, expected, missed);
                    let since = Timestamp::from_second(opens).unwrap_or(now).min(now);
                    let ahead = decided(coming, &moment, since, what, now);
                    first = first.into_iter().chain(ahead).min_by_key(|ahead: &Ahead| ahead.earliest);
                }
            }
        }
        (first, given_up)
    }

    /// Open incidents about what is expected whose pods were replaced and that say nothing of it yet, and when.
    fn acted_ahead(&self) -> Vec<(Arc<Incident>, Timestamp)> {
        let mut expected = self.snapshot.ahead.keys().filter(|(_, kind)| *kind == FindingKind::FaultExpected);
        if expected.next().is_none() {
            return Vec::new();
        }
        let replaced = self.snapshot.actions.values().filter(|action| {
            action.kind() == ActionKind::RollingRestart && action.state == ActionState::Verified
        });
        let of = |incident: &Incident| {
            incident.workload.as_ref().is_some_and(|key| {
                self.snapshot.ahead.contains_key(&(key.clone(), FindingKind::FaultExpected))
            }) && incident.findings.iter().any(|finding| finding.kind == FindingKind::FaultExpected)
        };
        let found = replaced.filter_map(|action| {
            let incident = self.snapshot.incidents.get(&action.incident).filter(|incident| of(incident))?;
            Some((Arc::clone(incident), action.instants.closed.or(action.instants.sent)?))
        });
        found.filter(|(incident, _)| self.foresight.pasts.unaware(incident)).collect()
    }

    /// Says once, in the incident about it, that a prediction is not believed any more.
    fn tell_given_up(
        &mut self,
        now_so: BTreeMap<(WorkloadKey, FindingKind), String>,
        now: Timestamp,
        changed: &mut BTreeSet<IncidentId>,
    ) {
        for ((key, kind), why) in &now_so {
            if self.foresight.given_up.contains(&(key.clone(), *kind)) {
                continue;
            }
            let about = |incident: &&Incident| {
                let told = |finding: &homeostat_knowledge::Finding| {
                    finding.kind == FindingKind::FaultExpected || finding.kind == *kind
                };
                incident.workload.as_ref() == Some(key) && incident.findings.iter().any(told)
            };
            let Some(id) = self.correlator.incidents().find(about).map(|incident| incident.id.clone()) else {
                continue;
            };
            if let Some(incident) = self.correlator.get_mut(&id) {
                let text = format!("{kind}: {why}; nothing is done ahead of it until it comes again");
                incident.record(now, TimelineKind::Decision, text);
                changed.insert(id);
            }
        }
        self.foresight.given_up = now_so.into_keys().collect();
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
