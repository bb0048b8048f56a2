//! What was proved, as a table for people and a file for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::ProofError;
use super::frozen::FrozenLeader;
use super::kill_loop::KillLoop;
use super::old_server::OldServer;
use super::plans::Outcome;
use super::relist::Relist;
use super::switch::KillSwitch;
use super::upgrade::Upgrade;

/// `target/proof/result.json`. Parts that did not run keep what the last run of them found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProofResult {
    /// Plans that ran, the undisturbed ones left out.
    pub plans: usize,
    /// Of those, plans that passed.
    pub passed: usize,
    /// Everything of all parts that ran fits: each request of ours to one action, each effect to one request.
    pub audit_match: bool,
    /// Sizes of that match.
    pub audit: AuditCounts,
    /// Plans by action: passed, all.
    pub by_action: BTreeMap<String, (usize, usize)>,
    /// Names of plans that failed.
    pub failed: Vec<String>,
    /// How long the plans took together, seconds.
    pub plan_seconds: f64,
    /// The kill loop.
    pub kill_loop: KillLoop,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// The frozen leader.
    pub frozen_leader: FrozenLeader,
    /// Kills for want of memory in the list.
    pub relist: Relist,
    /// Upgrades and a step back.
    pub upgrade: Upgrade,
    /// The old picture of a second API server.
    pub old_server: OldServer,
}

/// Sizes of the match.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditCounts {
    /// Requests of ours that changed something.
    pub requests: usize,
    /// Of those, effects.
    pub effects: usize,
    /// Actions.
    pub actions: usize,
    /// Of those, actions that say that nobody knows whether they had an effect.
    pub unknown: usize,
    /// Effects whose name in the audit log the process knew.
    pub acknowledged: usize,
    /// What did not fit.
    pub mismatches: usize,
}

impl ProofResult {
    /// What earlier runs found; nothing when there were none.
    pub fn read(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Result<(), ProofError> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| ProofError::Broken(error.to_string()))?;
        std::fs::write(path, text + "\n").map_err(ProofError::io("write", path))
    }

    /// Takes the outcomes of plans in.
    pub fn plans(&mut self, outcomes: &[Outcome]) {
        self.by_action.clear();
        self.audit = AuditCounts::default();
        let disturbed = |outcome: &&Outcome| !outcome.plan.ends_with("/Undisturbed");
        for outcome in outcomes.iter().filter(disturbed) {
            let action = outcome.plan.split('/').next().unwrap_or_default().to_owned();
            let (passed, all) = self.by_action.entry(action).or_default();
            *all += 1;
            *passed += usize::from(outcome.failures.is_empty());
        }
        for outcome in outcomes {
            let found = &outcome.audit;
            self.audit.requests += found.requests;
            self.audit.effects += found.effects;
            self.audit.actions += found.actions;
            self.audit.unknown += found.unknown;
            self.audit.acknowledged += found.acknowledged;
            self.audit.mismatches += found.mismatches.len();
        }
        self.plans = self.by_action.values().map(|(_, all)| all).sum();
        self.passed = self.by_action.values().map(|(passed, _)| passed).sum();
        let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty());
        self.failed = failed.map(|outcome| outcome.plan.clone()).collect();
        self.plan_seconds = outcomes.iter().map(|outcome| outcome.seconds).sum();
        self.audit_match = self.audit.mismatches == 0;
    }

    /// Everything holds.
    pub fn holds(&self) -> bool {
        let kept = &self.kill_loop;
        self.plans == self.passed
            && self.failed.is_empty()
            && self.audit_match
            && kept.double + kept.lost + kept.mismatches == 0
            && self.kill_switch.late == 0
            && self.kill_switch.mismatch.is_empty()
            && self.frozen_leader.zombie == 0
            && self.relist.holds()
            && self.upgrade.holds()
            && self.old_server.holds()
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |what: &str, found: String| {
            let _ = writeln!(text, "{what:<28}{found}");
        };
        for (action, (passed, all)) in &self.by_action {
            line(action, format!("{passed} of {all} plans passed"));
        }
        line("all plans", format!("{} of {} passed", self.passed, self.plans));
        let audit = &self.audit;
        line(
            "audit match",
            format!(
                "{} requests, {} effects, {} actions ({} unknown), {} acknowledgements by name: {} do not fit",
                audit.requests,
                audit.effects,
                audit.actions,
                audit.unknown,
                audit.acknowledged,
                audit.mismatches
            ),
        );
        let kept = &self.kill_loop;
        line(
            "kill loop",
            format!(
                "{} actions, {} kills, {} effects in {:.0} s: {} double, {} lost, {} do not fit",
                kept.actions, kept.kills, kept.effects, kept.seconds, kept.double, kept.lost, kept.mismatches
            ),
        );
        let switch = &self.kill_switch;
        line(
            "kill switch",
            format!(
                "{} times: last effect after it p99 {:.3} s, at most {:.3} s; {} later than 2 s",
                switch.times, switch.p99_seconds, switch.maximum_seconds, switch.late
            ),
        );
        if !switch.mismatch.is_empty() {
            line("record of decisions", switch.mismatch.clone());
        }
        let frozen = &self.frozen_leader;
        line(
            "frozen leader",
            format!(
                "{} times: {} zombie effects; the next leader acted after {:.1} s (median), {:.1} s (longest)",
                frozen.times, frozen.zombie, frozen.failover_median_seconds, frozen.failover_maximum_seconds
            ),
        );
        line("killed in the list", self.relist.text());
        line("upgrades", self.upgrade.text());
        let old = &self.old_server;
        line(
            "old API server",
            format!(
                "{} trials in {:.0} s: {} effects on an old picture, {} without a request; {} of {} controls acted once",
                old.trials, old.seconds, old.stale, old.idle, old.acted, old.controls
            ),
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_on_an_old_picture_is_no_proof_and_is_told() {
        let mut result = ProofResult { audit_match: true, ..ProofResult::default() };
        result.old_server.stale = 1;
        assert!(!result.holds());
        assert!(result.text().contains("1 effects on an old picture"), "{}", result.text());
    }

    #[test]
    fn a_record_of_decisions_that_does_not_match_the_audit_log_is_no_proof_and_is_told() {
        let mut result = ProofResult { audit_match: true, ..ProofResult::default() };
        assert!(result.holds());
        result.kill_switch.mismatch = "1 writes in the log that are not on record".to_owned();
        assert!(!result.holds());
        assert!(result.text().contains("record of decisions"), "{}", result.text());
    }

    #[test]
    fn an_effect_in_the_warm_up_after_a_kill_in_the_list_is_no_proof_and_is_told() {
        let relist = Relist { workloads: 10_000, kills: 5, healed: true, ..Relist::default() };
        let mut result = ProofResult { audit_match: true, relist, ..ProofResult::default() };
        assert!(result.holds());
        result.relist.early_effects = 3;
        assert!(!result.holds());
        assert!(result.text().contains("3 effects before the warm-up was over"), "{}", result.text());
    }

    #[test]
    fn an_upgrade_that_lost_something_is_no_proof() {
        let upgrade = Upgrade { changes: 10, least_open: 50, refused_unknown: true, ..Upgrade::default() };
        let mut result = ProofResult { audit_match: true, upgrade, ..ProofResult::default() };
        assert!(result.holds());
        result.upgrade.lost = 1;
        assert!(!result.holds());
        assert!(result.text().contains("1 lost"), "{}", result.text());
    }
}
