//! What keeps actions from being done, or telemetry from being taken, as conditions say it.

use homeostat_crds::conditions::Statement;
use homeostat_crds::{ConditionType, Reason, clip};
use homeostat_execute::guards::Breaker;
use homeostat_knowledge::policy::RESET_BREAKER;
use homeostat_knowledge::{Snapshot, TenantName, UnreadAction};

/// Actions that are named; the others are counted.
const NAMED: usize = 3;
/// What the breaker of a workload says: by it another one is told apart.
pub(super) const OF_WORKLOAD: &str = "actions on it did not help within a day";
/// What the breaker of a tenant says.
pub(super) const OF_TENANT: &str = "of the Tenant's last actions did not help";

pub(super) fn breaker_statement(breaker: Option<&Breaker>) -> Statement {
    let about = ConditionType::BreakerOpen;
    let text = match breaker {
        None => return Statement::new(about, false, Reason::AsExpected, ""),
        Some(Breaker::Workload(count)) => format!("{count} {OF_WORKLOAD}"),
        Some(Breaker::Tenant(count)) => format!("{count} {OF_TENANT}"),
        Some(Breaker::Cluster(count)) => {
            format!("{count} actions in the cluster did not help within 15 minutes")
        }
        Some(Breaker::Latched(since)) => format!(
            "Since {since:.0}: repairs all over the cluster did not help, and none is done until a person resets the breaker: \
             {RESET_BREAKER}"
        ),
    };
    Statement::new(about, true, Reason::TooManyFailures, text)
}

/// Actions that a newer version wrote and that are not carried on here: nobody else would see that they wait.
pub(super) fn readable(snapshot: &Snapshot) -> Statement {
    let about = ConditionType::ActionsReadable;
    let open: Vec<&UnreadAction> =
        snapshot.unread.values().map(|action| &**action).filter(|action| action.open()).collect();
    if open.is_empty() {
        return Statement::new(about, true, Reason::AsExpected, "");
    }
    let named: Vec<String> = open
        .iter()
        .take(NAMED)
        .map(|action| format!("{}/{}", action.workload.namespace, action.id))
        .collect();
    let more = match open.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "This version cannot read {} Actions that have not ended: {}{more}. Nothing else is done to their targets. Let the \
         newer version that wrote them finish them, or delete each when its effect is known: kubectl delete \
         actions.homeostat.dev NAME -n NAMESPACE",
        open.len(),
        named.join(", ")
    );
    Statement::new(about, false, Reason::NewerVersion, text)
}

/// New series of the tenant are dropped; `None` while all are taken.
pub(super) fn series_dropped(tenant: &TenantName, snapshot: &Snapshot) -> Option<Statement> {
    let dropped = snapshot.crowded.get(tenant)?;
    let of = dropped.workload.as_ref().map(|workload| format!(" that {workload} sends")).unwrap_or_default();
    let text = format!(
        "The Tenant has its share of the series that are taken; new ones are dropped, most of them of the metric `{}`{of}. Take \
         labels with ever new values (numbers of orders, users, addresses) off it; known series go on, and new ones are taken \
         again when those are 20 minutes silent",
        dropped.metric
    );
    Some(Statement::new(ConditionType::SeriesTaken, false, Reason::TooManySeries, clip(&text, 1_024)))
}
