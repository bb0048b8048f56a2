//! Whose figures a Report may have, and what its status says. Pure.

use super::address::{PagesUrl, Whose};
use super::figures::{Downtime, IncidentFacts, of_incident, of_nothing, of_period};
use super::read::Facts;
use super::record::{About, ReportRecord};
use crate::janitor::Retention;
use homeostat_crds::conditions::{Statement, set};
use homeostat_crds::v1alpha1::report::{KeyFigure, ReportStatus};
use homeostat_crds::{ConditionStatus, ConditionType, MicroTime, Reason, clip};
use homeostat_knowledge::policy::Prices;
use homeostat_knowledge::{Name, ObjectKey, Snapshot, Timestamp};
use std::collections::BTreeSet;

/// Longest summary.
const LONGEST: usize = 1_024;

/// Whose records a Report may count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The tenant that owns the Report's namespace; `None`: nobody does, and only that namespace counts.
    pub tenant: Option<Name>,
    /// Namespaces that count.
    pub namespaces: Vec<Name>,
    /// What downtime costs the tenant.
    pub prices: Option<Prices>,
}

impl Scope {
    /// What says of itself that it belongs to `tenant` may be counted: a namespace may have had another owner before.
    pub fn shows(&self, tenant: Option<&str>) -> bool {
        match (&self.tenant, tenant) {
            (Some(ours), Some(theirs)) => &**ours == theirs,
            _ => true,
        }
    }
}

/// What became of a look.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The figures.
    Made {
        summary: String,
        figures: Vec<KeyFigure>,
        /// What readers have to know of them.
        message: String,
    },
    /// There are none, and why.
    NotMade { reason: Reason, status: ConditionStatus, message: String, figures: Vec<KeyFigure> },
}

impl Outcome {
    fn not(reason: Reason, message: String) -> Self {
        Self::NotMade { reason, status: ConditionStatus::False, message, figures: Vec::new() }
    }
}

/// Whose records the Report may count: those of the tenant that owns its namespace. Only `watched` namespaces count where
/// there are any. A Report that names another tenant gets nothing.
pub(super) fn scope(
    key: &ObjectKey,
    record: &ReportRecord,
    snapshot: &Snapshot,
    watched: &BTreeSet<String>,
) -> Result<Scope, Outcome> {
    let owner = snapshot.tenant_of_namespace(&key.namespace);
    match (&record.tenant, owner) {
        (Some(named), Some(owner)) if **named != *owner.name.0 => Err(Outcome::not(
            Reason::InvalidSpec,
            format!(
                "spec.tenant is {named}, which does not own namespace {}; leave spec.tenant out, or make the Report in a \
                 namespace of tenant {named}",
                key.namespace
            ),
        )),
        (Some(named), None) => Err(Outcome::not(
            Reason::NoTenant,
            format!(
                "namespace {} belongs to no Tenant, so not to {named} either; leave spec.tenant out, or add the namespace \
                 to spec.namespaces of that Tenant",
                key.namespace
            ),
        )),
        (_, Some(owner)) => Ok(Scope {
            tenant: Some(owner.name.0.clone()),
            namespaces: owner
                .namespaces
                .iter()
                .filter(|name| watched.is_empty() || watched.contains(&***name))
                .cloned()
                .collect(),
            prices: owner.prices.clone(),
        }),
        (None, None) => Ok(Scope { tenant: None, namespaces: vec![key.namespace.clone()], prices: None }),
    }
}

/// How long records are kept, for people.
fn kept(retention: Retention) -> String {
    let longer = if retention.recommended > retention.age {
        format!(" (recommendations {} days)", retention.recommended.as_hours() / 24)
    } else {
        String::new()
    };
    let hours = retention.age.as_hours();
    let span = match hours {
        48.. => format!("{} days", hours / 24),
        1..48 => format!("{hours} h"),
        _ => format!("{} min", retention.age.as_mins()),
    };
    format!(
        "incidents and actions are kept for {span} after they ended{longer}, the newest {} of a namespace",
        retention.newest
    )
}

/// What can be said of a period without reading anything.
pub(super) fn ahead_of_reading(
    from: Timestamp,
    to: Timestamp,
    retention: Retention,
    now: Timestamp,
) -> Option<Outcome> {
    if now < from {
        return Some(Outcome::NotMade {
            reason: Reason::Pending,
            status: ConditionStatus::Unknown,
            message: format!("the period begins at {from}; figures follow then"),
            figures: Vec::new(),
        });
    }
    let longest = retention.age.max(retention.recommended);
    (to <= now.checked_sub(longest).unwrap_or(Timestamp::UNIX_EPOCH)).then(|| nothing_kept(retention))
}

fn nothing_kept(retention: Retention) -> Outcome {
    Outcome::NotMade {
        reason: Reason::NoData,
        status: ConditionStatus::False,
        message: format!(
            "the period ended before what is still kept: {}; ask for a later period, and for older ones whatever stores the \
             metrics of Homeostat",
            kept(retention)
        ),
        figures: of_nothing(),
    }
}

fn kept_since(retention: Retention, now: Timestamp) -> Timestamp {
    now.checked_sub(retention.age).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The figures of a period.
pub(super) fn of_a_period(
    facts: &Facts,
    scope: &Scope,
    (from, to): (Timestamp, Timestamp),
    retention: Retention,
    now: Timestamp,
) -> Outcome {
    // What is still open, or was only recommended, is kept for longer than the rest.
    if to <= kept_since(retention, now) && facts.incidents.is_empty() && facts.actions.is_empty() {
        return nothing_kept(retention);
    }
    let downtime = Downtime { until: (now >= to).then(|| MicroTime::new(to)), prices: scope.prices.as_ref() };
    let (summary, figures) = of_period(&facts.incidents, &facts.actions, downtime);
    let mut notes = Vec::new();
    if now < to {
        notes.push(format!("so far: the period ends at {to}, until then it is looked at again now and then"));
    }
    if from < kept_since(retention, now) || facts.fullest >= retention.newest {
        notes.push(format!("{}; what was removed before is not counted", kept(retention)));
    }
    notes.extend(not_whole(facts));
    Outcome::Made { summary, figures, message: notes.join("; ") }
}

/// The figures of an incident.
pub(super) fn of_an_incident(incident: &IncidentFacts, facts: &Facts) -> Outcome {
    let (summary, figures) = of_incident(incident, &facts.actions);
    Outcome::Made { summary, figures, message: not_whole(facts).into_iter().collect::<Vec<_>>().join("; ") }
}

fn not_whole(facts: &Facts) -> impl IntoIterator<Item = String> {
    let unread = (facts.unread > 0)
        .then(|| format!("{} objects are not counted: this version cannot read them", facts.unread));
    let cut = facts
        .cut
        .then(|| "there are more incidents or actions than are counted; ask for a shorter period".to_owned());
    unread.into_iter().chain(cut)
}

/// There is no such incident for this Report.
pub(super) fn not_found(key: &ObjectKey, incident: &Name, retention: Retention) -> Outcome {
    Outcome::not(
        Reason::TargetNotFound,
        format!(
            "there is no incident {incident} in namespace {}: check the name with `kubectl get incidents -n {}`, and make the \
             Report in the namespace of the incident; {}",
            key.namespace,
            key.namespace,
            kept(retention)
        ),
    )
}

/// The whole status.
pub(super) fn status(
    record: &ReportRecord,
    scope: Option<&Scope>,
    key: &ObjectKey,
    outcome: Outcome,
    pages: Option<&PagesUrl>,
    now: Timestamp,
) -> ReportStatus {
    let made_at = MicroTime::new(now);
    let mut new = ReportStatus { observed_generation: Some(record.generation), ..ReportStatus::default() };
    let (is, reason, mut message) = match outcome {
        Outcome::Made { summary, figures, message } => {
            new.summary = Some(clip(&summary, LONGEST));
            new.key_figures = figures;
            new.generated = Some(made_at);
            new.url = pages.zip(scope).map(|(pages, scope)| match &record.about {
                About::Incident(name) => pages.incident(name, record.format),
                About::Period(from, to) => {
                    let whose = match &scope.tenant {
                        Some(tenant) => Whose::Tenant(tenant),
                        None => Whose::Namespace(&key.namespace),
                    };
                    pages.period(*from, *to, whose, record.format)
                }
            });
            (ConditionStatus::True, Reason::Generated, message)
        }
        Outcome::NotMade { reason, status, message, figures } => {
            new.key_figures = figures;
            (status, reason, message)
        }
    };
    if new.generated.is_some() && new.url.is_none() {
        let no_pages = "the address of the pages is not known: start Homeostat with --pages-url";
        message = if message.is_empty() { no_pages.to_owned() } else { format!("{message}; {no_pages}") };
    }
    for about in [ConditionType::Ready, ConditionType::Generated] {
        let statement = Statement::new(about, is, reason, message.clone());
        set(&mut new.conditions, statement, Some(record.generation), made_at);
    }
    new
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
