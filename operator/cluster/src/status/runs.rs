//! What people read of the runs of a workload and of a tenant.

use homeostat_crds::conditions::Statement;
use homeostat_crds::{ConditionStatus, ConditionType, Reason, clip};
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{RunsReport, Snapshot, TenantPolicy};

/// Characters of a message.
const LONGEST: usize = 1_024;

/// Whether the runs of a workload are in time.
pub(super) fn of_workload(report: &RunsReport) -> Statement {
    let about = ConditionType::RunsInTime;
    if let Some(late) = &report.late {
        return Statement::new(
            about,
            false,
            Reason::RunsLate,
            clip(&format!("{late}; {}", report.said), LONGEST),
        );
    }
    if let Some(problem) = &report.problem {
        let text = clip(&format!("{problem}; {}", report.said), LONGEST);
        return Statement::new(about, ConditionStatus::Unknown, Reason::Failed, text);
    }
    let text = clip(&report.said, LONGEST);
    if report.mode != ScalingMode::Auto && report.waiting > 0 {
        return Statement::new(about, ConditionStatus::Unknown, Reason::NotOrdered, text);
    }
    Statement::new(about, true, Reason::AsExpected, text)
}

/// Whether the runs of a tenant are in time; `None` when none is ordered.
pub(super) fn of_tenant(policy: &TenantPolicy, snapshot: &Snapshot) -> Option<Statement> {
    let mut reports =
        snapshot.runs.iter().filter(|(key, _)| policy.namespaces.contains(&key.namespace)).peekable();
    reports.peek()?;
    let about = ConditionType::RunsInTime;
    let late: Vec<&RunsReport> =
        reports.map(|(_, report)| &**report).filter(|report| report.late.is_some()).collect();
    // The first by name of several that are late by the same, so that the text stays.
    let latest = late.iter().rev().max_by_key(|report| report.late_by());
    let Some(text) = latest.and_then(|report| report.late.as_deref()) else {
        return Some(Statement::new(about, true, Reason::AsExpected, ""));
    };
    let others = match late.len() {
        0 | 1 => String::new(),
        count => format!(" ({} more workloads have late runs)", count - 1),
    };
    Some(Statement::new(about, false, Reason::RunsLate, clip(&format!("{text}{others}"), LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::{LateRun, ObjectKey, SignedDuration, Timestamp};
    use std::sync::Arc;

    fn report(mode: ScalingMode, late: Option<&str>, problem: Option<&str>) -> RunsReport {
        RunsReport {
            mode,
            waiting: 1,
            running: 0,
            said: "1 wait, 0 run".to_owned(),
            late: late.map(str::to_owned),
            late_runs: u32::from(late.is_some()),
            latest: Vec::new(),
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn the_latest_run_and_its_cure_come_first() {
        let late =
            of_workload(&report(ScalingMode::Auto, Some("a/plan run of x will end 60 s late"), Some("p")));
        assert_eq!((late.status, late.reason), (ConditionStatus::False, Reason::RunsLate));
        assert!(late.message.starts_with("a/plan") && late.message.contains("1 wait"), "{}", late.message);
        let well = of_workload(&report(ScalingMode::Auto, None, None));
        assert_eq!(well.status, ConditionStatus::True);
        let unordered = of_workload(&report(ScalingMode::Recommend, None, None));
        assert_eq!((unordered.status, unordered.reason), (ConditionStatus::Unknown, Reason::NotOrdered));
        let stuck = of_workload(&report(ScalingMode::Auto, None, Some("the kill switch is engaged")));
        assert!(stuck.message.starts_with("the kill switch"), "{}", stuck.message);
    }

    #[test]
    fn a_tenant_is_told_of_the_latest_run_of_all_its_workloads() {
        let policy = crate::status::desired::tests::rules();
        let namespace = policy.namespaces.iter().next().expect("a namespace").clone();
        let mut snapshot = Snapshot::default();
        let mut put = |name: &str, by: Option<i64>| {
            let text = format!("{name} is late");
            let run = LateRun {
                run: "2026-11-22T02:00:00Z".to_owned(),
                due: Timestamp::UNIX_EPOCH,
                by: by.map(SignedDuration::from_secs),
                help: String::new(),
            };
            let report =
                RunsReport { latest: vec![run], ..report(ScalingMode::Auto, Some(text.as_str()), None) };
            snapshot.runs.insert_mut(ObjectKey::new(&*namespace, name), Arc::new(report));
            of_tenant(&policy, &snapshot).expect("runs are ordered").message
        };
        assert_eq!(put("a", Some(60)), "a is late");
        assert_eq!(put("b", Some(600)), "b is late (1 more workloads have late runs)");
        assert_eq!(put("c", Some(600)), "b is late (2 more workloads have late runs)");
        assert_eq!(put("d", None), "d is late (3 more workloads have late runs)", "it finds no room now");
    }

    #[test]
    fn a_tenant_without_ordered_runs_says_nothing_of_them() {
        let policy = crate::status::desired::tests::rules();
        assert!(of_tenant(&policy, &Snapshot::default()).is_none());
    }
}
