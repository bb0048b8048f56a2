//! Which incident and which action belongs to which fault, and which belong to none.
//!
//! An incident belongs to the fault in whose time it was opened: from the injection until the
//! application had settled again. Opened later, it belongs to the fault before it only when that
//! was not detected yet and the incident names what was broken; else it is an incident without a
//! fault. An action belongs to the fault of its incident, whenever it comes (a healed crash may be
//! followed up in a quiet minute, during the next fault), and to the time when it has none.

use std::collections::BTreeSet;

use super::action::ActionView;
use super::at::{At, Span};
use super::attempt::History;
use super::incident::{Broken, Episode, Incidents};
use super::judge::Verdict;

/// How far two watches may be apart.
const WATCHES_APART: Span = Span::from_secs(2);

/// One fault of kind `K` as the injector did it.
#[derive(Clone, Debug)]
pub struct FaultRecord<K = crate::faults::Kind> {
    /// Which fault.
    pub kind: K,
    /// So many effects can be useful; more are not.
    pub useful_effects: usize,
    /// `probesGood` or `probesFailing`, for faults that have variants.
    pub variant: Option<&'static str>,
    /// What it broke.
    pub broken: Broken,
    /// When.
    pub injected: At,
    /// When the second kill of a double kill came.
    pub second: Option<At>,
    /// When the harness began to restore; recovery after it is the harness's.
    pub restored: At,
    /// When there was no failed attempt any more and rollouts were complete.
    pub settled: At,
}

impl<K> FaultRecord<K> {
    /// From when failed attempts count as impact.
    pub fn since(&self) -> At {
        self.second.unwrap_or(self.injected)
    }
}

/// What became of a fault, with all that Homeostat said and did about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed {
    /// Instants and figures.
    pub verdict: Verdict,
    /// Different incidents.
    pub incidents: usize,
    /// Best cause of the incident that named the broken entity (else of the first).
    pub top_cause: Option<String>,
    /// That cause is the broken entity.
    pub top_cause_right: bool,
    /// An incident of it was handed over to people.
    pub handed_over: bool,
    /// Actions with an effect.
    pub actions: usize,
    /// Those that were wrong, and those without any fault that followed this one.
    pub wrong_actions: usize,
}

/// The whole column, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// One entry per fault, in the order of the faults.
    pub faults: Vec<Attributed>,
    /// Incidents without a fault.
    pub quiet_incidents: usize,
    /// Actions with an effect and without a fault; they are among the wrong ones above.
    pub quiet_actions: usize,
}

/// Judges a column. `faults` are in order of injection.
pub fn attribute<K>(
    faults: &[FaultRecord<K>],
    history: &History,
    incidents: &Incidents,
    actions: &[ActionView],
) -> Judged {
    let episodes = incidents.episodes();
    let owners = owners(faults, &episodes);
    let mut judged: Vec<Attributed> = faults
        .iter()
        .enumerate()
        .map(|(index, fault)| {
            let own: Vec<&Episode<'_>> = episodes
                .iter()
                .zip(&owners)
                .filter(|(_, owner)| **owner == Some(index))
                .map(|(episode, _)| episode)
                .collect();
            judge_one(fault, history, &own)
        })
        .collect();
    let mut quiet_actions = 0;
    let mut restarts = vec![0; faults.len()];
    let mut effects: Vec<&ActionView> = actions.iter().filter(|action| action.has_effect()).collect();
    effects.sort_by_key(|action| action.at());
    for action in effects {
        let (owner, quiet) = owner_of_action(action, faults, incidents, &episodes, &owners);
        quiet_actions += usize::from(quiet);
        let Some((index, fault)) = owner.and_then(|index| Some((index, faults.get(index)?))) else {
            continue;
        };
        let (Some(record), Some(restarts)) = (judged.get_mut(index), restarts.get_mut(index)) else {
            continue;
        };
        let off_target = action.service.as_deref() != Some(fault.broken.service.as_str());
        *restarts += usize::from(!off_target);
        let useless = *restarts > fault.useful_effects;
        record.actions += 1;
        record.wrong_actions += usize::from(quiet || off_target || useless);
    }
    let quiet_incidents: BTreeSet<(&str, At)> = episodes
        .iter()
        .zip(&owners)
        .filter(|(_, owner)| owner.is_none())
        .map(|(episode, _)| (episode.uid, episode.opened))
        .collect();
    Judged { faults: judged, quiet_incidents: quiet_incidents.len(), quiet_actions }
}

fn judge_one<K>(fault: &FaultRecord<K>, history: &History, episodes: &[&Episode<'_>]) -> Attributed {
    let attempts = history.on(&fault.broken.service, fault.injected, fault.restored);
    let naming = episodes
        .iter()
        .filter_map(|episode| episode.named(&fault.broken).map(|at| (at, episode)))
        .min_by_key(|(at, _)| *at);
    let verdict = Verdict::new(&attempts, fault.since(), fault.restored, naming.map(|(at, _)| at));
    let telling = naming.map(|(_, episode)| episode).or(episodes.first());
    let top = telling.and_then(|episode| episode.top_cause());
    let different: BTreeSet<&str> = episodes.iter().map(|episode| episode.uid).collect();
    Attributed {
        verdict,
        incidents: different.len(),
        top_cause: top.map(super::incident::CauseView::text),
        top_cause_right: top.is_some_and(|cause| fault.broken.is(cause)),
        handed_over: naming.is_some_and(|(_, episode)| episode.handed_over()),
        actions: 0,
        wrong_actions: 0,
    }
}

/// For each episode the fault that it belongs to.
fn owners<K>(faults: &[FaultRecord<K>], episodes: &[Episode<'_>]) -> Vec<Option<usize>> {
    let mut detected = vec![false; faults.len()];
    episodes
        .iter()
        .map(|episode| {
            let index = before(faults, episode.opened)?;
            let fault = faults.get(index)?;
            let known = detected.get_mut(index)?;
            let names = episode.named(&fault.broken).is_some();
            if episode.opened >= fault.settled && (*known || !names) {
                return None;
            }
            *known |= names;
            Some(index)
        })
        .collect()
}

/// The last fault that was injected by then.
fn before<K>(faults: &[FaultRecord<K>], at: At) -> Option<usize> {
    faults.iter().rposition(|fault| fault.injected <= at)
}

/// The fault that an action is counted with, and whether it came without any fault.
fn owner_of_action<K>(
    action: &ActionView,
    faults: &[FaultRecord<K>],
    incidents: &Incidents,
    episodes: &[Episode<'_>],
    owners: &[Option<usize>],
) -> (Option<usize>, bool) {
    let by_time = before(faults, action.at());
    // Without a fault before it, it is shown with the first one.
    let shown = by_time.or(if faults.is_empty() { None } else { Some(0) });
    let Some(uid) = incidents.uid_of(&action.incident) else {
        let within = by_time.and_then(|i| faults.get(i)).is_some_and(|fault| action.at() < fault.settled);
        return (shown, !within);
    };
    // Two watches deliver the incident and its action; either may come a little later.
    let known = action.at().max(action.seen) + WATCHES_APART;
    let mut own = episodes.iter().zip(owners).filter(|(episode, _)| episode.uid == uid);
    let first = own.next();
    let latest = own.take_while(|(episode, _)| episode.opened <= known).last().or(first);
    match latest {
        Some((_, Some(owner))) => (Some(*owner), false),
        _ => (shown, true),
    }
}

#[cfg(test)]
mod tests;
