//! What incidents and actions come to: key figures, purely. What is not known is `no data`, never zero.
//!
//! Definitions are those of docs/manager.md; percentiles are nearest rank; times are cut at zero, because a sender's clock
//! may be ahead.

use homeostat_crds::v1alpha1::action::{ActionState, Origin};
use homeostat_crds::v1alpha1::incident::{IncidentInstants, IncidentState};
use homeostat_crds::v1alpha1::report::KeyFigure;
use homeostat_crds::{MicroTime, Severity, clip};
use homeostat_knowledge::Name;
use homeostat_knowledge::policy::Prices;
use std::collections::BTreeSet;

/// What stands where nothing is known.
pub const NO_DATA: &str = "no data";
/// The figure that tells where an incident stands.
pub const STATE: &str = "State";
/// Longest value of a figure.
const LONGEST: usize = 64;

/// An incident, as far as figures need it.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentFacts {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub state: Option<IncidentState>,
    /// The best explanation: what is broken and how.
    pub cause: Option<String>,
    /// How bad it was at its worst.
    pub severity: Option<Severity>,
    /// Nothing was wrong, something was only expected.
    pub expected: bool,
    /// The five instants.
    pub instants: IncidentInstants,
    /// Times that it came back.
    pub reopened: i32,
    /// People had to take over.
    pub handed_over: bool,
    /// A person acknowledged or closed it.
    pub by_people: bool,
}

impl IncidentFacts {
    /// From the first bad sample until it was recognised, in seconds.
    fn detect(&self) -> Option<f64> {
        seconds(self.instants.impact_start, self.instants.detected)
    }

    /// From recognition until automation or a person took it, in seconds.
    fn acknowledge(&self) -> Option<f64> {
        seconds(self.instants.detected, self.instants.acknowledged)
    }

    /// From recognition until it was back inside its objective, in seconds.
    fn mitigate(&self) -> Option<f64> {
        seconds(self.instants.detected, self.instants.mitigated)
    }

    /// What users felt, in seconds.
    fn restore(&self) -> Option<f64> {
        seconds(self.instants.impact_start, self.instants.mitigated)
    }

    /// From the first bad sample until it was over for good, in seconds.
    fn resolve(&self) -> Option<f64> {
        seconds(self.instants.impact_start, self.instants.resolved)
    }

    fn resolved(&self) -> bool {
        self.state == Some(IncidentState::Resolved)
    }
}

/// An action, as far as figures need it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionFacts {
    /// Its namespace.
    pub namespace: Name,
    /// The incident that it serves, if one asked for it.
    pub incident: Option<Name>,
    /// What asked for it.
    pub origin: Origin,
    /// How far it is.
    pub state: Option<ActionState>,
    /// It only told people.
    pub tells: bool,
    /// It took another one back, which is counted where that one ended.
    pub undoes: bool,
    /// A person approved it.
    pub approved: bool,
    /// Whether it was right, where that is known: by a person's word; else it was not when it was taken back, or when its
    /// incident turned out to be about something else.
    pub right: Option<bool>,
    /// When its effect was sent or about to be.
    pub at: Option<MicroTime>,
}

impl ActionFacts {
    /// It changed something, or may have.
    fn sent(&self) -> bool {
        self.at.is_some() && !self.tells && !self.undoes
    }
}

/// How downtime is counted.
#[derive(Clone, Copy, Debug)]
pub struct Downtime<'a> {
    /// The end of the period, once it is over: what is not restored lasts until then, at least. Before, only what was
    /// restored counts; else each look would tell another number.
    pub until: Option<MicroTime>,
    /// What it costs.
    pub prices: Option<&'a Prices>,
}

impl Downtime<'_> {
    /// Seconds in which users were failed by something, whatever it was: times that overlap count once.
    fn seconds(&self, incidents: &[&IncidentFacts]) -> f64 {
        let felt = incidents.iter().filter(|incident| incident.severity == Some(Severity::Critical));
        let mut spans: Vec<(MicroTime, MicroTime)> = felt
            .filter_map(|incident| {
                let end = incident.instants.mitigated.or(self.until)?;
                incident.instants.impact_start.map(|begin| (begin, end.max(begin)))
            })
            .collect();
        spans.sort_unstable();
        let (mut sum, mut counted) = (0.0, None::<MicroTime>);
        for (begin, end) in spans {
            let begin = counted.map_or(begin, |counted| begin.max(counted));
            sum += end.seconds_since(begin).max(0.0);
            counted = counted.max(Some(end));
        }
        sum
    }

    fn figures(&self, incidents: &[&IncidentFacts]) -> [KeyFigure; 2] {
        let seconds = self.seconds(incidents);
        let priced = self.prices.and_then(|prices| Some((prices.downtime(seconds)?, &prices.currency)));
        let cost = match priced {
            Some((cost, currency)) => KeyFigure {
                name: "DowntimeCost".to_owned(),
                value: format!("{cost:.2}"),
                unit: Some(currency.to_string()),
            },
            None => text("DowntimeCost", None),
        };
        [time("Downtime", Some(seconds)), cost]
    }
}

fn seconds(from: Option<MicroTime>, to: Option<MicroTime>) -> Option<f64> {
    Some(to?.seconds_since(from?).max(0.0))
}

fn text(name: &str, value: Option<&str>) -> KeyFigure {
    let value = value.filter(|value| !value.is_empty()).unwrap_or(NO_DATA);
    KeyFigure { name: name.to_owned(), value: clip(value, LONGEST), unit: None }
}

fn count(name: &str, count: usize) -> KeyFigure {
    text(name, Some(&count.to_string()))
}

fn time(name: &str, seconds: Option<f64>) -> KeyFigure {
    match seconds.filter(|seconds| seconds.is_finite()) {
        Some(seconds) => {
            KeyFigure { name: name.to_owned(), value: format!("{seconds:.3}"), unit: Some("s".to_owned()) }
        }
        None => text(name, None),
    }
}

/// The smallest value that at least the share `quantile` of all values does not exceed.
fn nearest_rank(sorted: &[f64], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn ended(actions: &[&ActionFacts], state: ActionState) -> usize {
    actions.iter().filter(|action| action.state == Some(state)).count()
}

/// How people say a number of things.
fn several(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn for_people(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| NO_DATA.to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// What one incident came to: a sentence and its figures. `actions` are those that served it.
pub fn of_incident(incident: &IncidentFacts, actions: &[ActionFacts]) -> (String, Vec<KeyFigure>) {
    let sent: Vec<&ActionFacts> = actions.iter().filter(|action| action.sent()).collect();
    let verified = ended(&sent, ActionState::Verified);
    let state = incident.state.map(|state| format!("{state:?}"));
    let figures = vec![
        text(STATE, state.as_deref()),
        text("TopCause", incident.cause.as_deref()),
        time("TimeToDetect", incident.detect()),
        time("TimeToAcknowledge", incident.acknowledge()),
        time("TimeToMitigate", incident.mitigate()),
        time("TimeToRestore", incident.restore()),
        time("TimeToResolve", incident.resolve()),
        count("Actions", actions.len()),
        count("ActionsSent", sent.len()),
        count("ActionsVerified", verified),
        count("ActionsUndone", ended(&sent, ActionState::Undone)),
        count("ActionsFailed", ended(&sent, ActionState::Failed)),
        count("Reopened", usize::try_from(incident.reopened).unwrap_or(0)),
        text("HandedOver", Some(if incident.handed_over { "yes" } else { "no" })),
    ];
    let restored = match incident.restore() {
        Some(restore) => format!("restored after {}", for_people(Some(restore))),
        None => "not restored".to_owned(),
    };
    let helped = match sent.len() {
        0 => "nothing was changed".to_owned(),
        sent => format!("{verified} of {} helped", several(sent, "action")),
    };
    let summary = format!(
        "{}: detected after {}, {restored}{}{}; {helped}",
        incident.cause.as_deref().unwrap_or("cause not known"),
        for_people(incident.detect()),
        if incident.resolved() { ", resolved" } else { "" },
        if incident.handed_over { ", handed over to people" } else { "" },
    );
    (summary, figures)
}

/// What a period came to: a sentence and its figures. Incidents are those that were recognised in it, actions those whose
/// effect was sent in it.
pub fn of_period(
    incidents: &[IncidentFacts],
    actions: &[ActionFacts],
    downtime: Downtime<'_>,
) -> (String, Vec<KeyFigure>) {
    let real: Vec<&IncidentFacts> = incidents.iter().filter(|incident| !incident.expected).collect();
    let times = |which: fn(&IncidentFacts) -> Option<f64>| {
        let mut values: Vec<f64> = real.iter().filter_map(|incident| which(incident)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (detect, restore) = (times(IncidentFacts::detect), times(IncidentFacts::restore));
    let open = real.iter().filter(|incident| incident.instants.mitigated.is_none()).count();
    let handed = real.iter().filter(|incident| incident.handed_over).count();
    let approved: BTreeSet<(&Name, &Name)> = actions
        .iter()
        .filter(|action| action.approved)
        .filter_map(|action| Some((&action.namespace, action.incident.as_ref()?)))
        .collect();
    let alone = |incident: &&&IncidentFacts| {
        let key = (&incident.namespace, &incident.name);
        incident.resolved() && !incident.handed_over && !incident.by_people && !approved.contains(&key)
    };
    let of = |origin: Origin| actions.iter().filter(move |action| action.origin == origin && action.sent());
    let sent: Vec<&ActionFacts> = of(Origin::Incident).collect();
    let verified = ended(&sent, ActionState::Verified);
    let judged = sent.iter().filter(|action| action.right.is_some()).count();
    let wrong = match sent.iter().filter(|action| action.right == Some(false)).count() {
        // That nothing is known of any of them says nothing of them.
        0 if judged == 0 && !sent.is_empty() => text("WrongActions", None),
        wrong => count("WrongActions", wrong),
    };
    let [down, cost] = downtime.figures(&real);
    let figures = vec![
        count("Incidents", real.len()),
        count("IncidentsNotRestored", open),
        count("IncidentsOnlyExpected", incidents.len() - real.len()),
        time("MeanTimeToDetect", mean(&detect)),
        time("MedianTimeToDetect", nearest_rank(&detect, 0.5)),
        time("P95TimeToDetect", nearest_rank(&detect, 0.95)),
        time("MeanTimeToAcknowledge", mean(&times(IncidentFacts::acknowledge))),
        time("MeanTimeToMitigate", mean(&times(IncidentFacts::mitigate))),
        time("MedianTimeToRestore", nearest_rank(&restore, 0.5)),
        time("P95TimeToRestore", nearest_rank(&restore, 0.95)),
        down,
        cost,
        count("HandedOver", handed),
        count("HealedWithoutPerson", real.iter().filter(alone).count()),
        count("ActionsSent", sent.len()),
        count("ActionsVerified", verified),
        count("ActionsUndone", ended(&sent, ActionState::Undone)),
        count("ActionsFailed", ended(&sent, ActionState::Failed)),
        count("ActionsJudged", judged),
        wrong,
        count("ChangesByForecast", of(Origin::Forecast).count()),
        count("ChangesBySchedule", of(Origin::Schedule).count()),
    ];
    let times = if real.is_empty() {
        String::new()
    } else {
        format!(
            ", {open} not restored, {handed} handed over; median time to detect {}, to restore {}",
            for_people(nearest_rank(&detect, 0.5)),
            for_people(nearest_rank(&restore, 0.5))
        )
    };
    let helped = match sent.len() {
        0 => "no repair was sent".to_owned(),
        sent => format!("{verified} of {} helped", several(sent, "repair")),
    };
    let summary = format!("{}{times}; {helped}", several(real.len(), "incident"));
    (summary, figures)
}

/// The figures of a period of which nothing is kept.
pub fn of_nothing() -> Vec<KeyFigure> {
    let never = Downtime { until: None, prices: None };
    let (_, figures) = of_period(&[], &[], never);
    figures.into_iter().map(|figure| text(&figure.name, None)).collect()
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
