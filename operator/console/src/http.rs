//! Probes, metrics and pages over HTTP. Reads snapshots; nothing here changes anything.

use crate::archive::ArchiveSource;
use crate::filter::Filter;
use crate::forecasts::ForecastSource;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::recent::RecentIncidents;
use crate::report::{IncidentReport, ReportError, RunReport, forecasts, late};
use crate::status;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use homeostat_knowledge::{
    ActionRecord, Clock, Incident, IncidentId, Name, SignedDuration, Snapshot, SnapshotSource, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// An address of more parts is of no page, whatever is at its end.
const DEEPEST: usize = 16;

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Caches are not synced yet.
    Starting,
    /// Takes part.
    Ready,
    /// Ends; for good.
    Stopping,
}

/// What `/readyz` tells. Starts closed, opens once, closes once; clones share the state.
#[derive(Clone, Debug, Default)]
pub struct ReadyGate(Arc<AtomicU8>);

impl ReadyGate {
    const STARTING: u8 = 0;
    const READY: u8 = 1;
    const STOPPING: u8 = 2;

    /// Ready from now on, unless the process is already ending.
    pub fn open(&self) {
        // Losing the race against `close` is right: stopping is for good.
        let _ = self.0.compare_exchange(Self::STARTING, Self::READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ending from now on; cannot be opened again.
    pub fn close(&self) {
        self.0.store(Self::STOPPING, Ordering::Release);
    }

    /// How far the process is.
    pub fn readiness(&self) -> Readiness {
        match self.0.load(Ordering::Acquire) {
            Self::STARTING => Readiness::Starting,
            Self::READY => Readiness::Ready,
            _ => Readiness::Stopping,
        }
    }
}

/// When the loop made its last step. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicI64>);

impl Heartbeat {
    /// A loop without a step for so long stands still; it makes ten in a second.
    const STILL: SignedDuration = SignedDuration::from_mins(1);

    /// The loop made a step.
    pub fn beat(&self, now: Timestamp) {
        self.0.store(now.as_millisecond(), Ordering::Relaxed);
    }

    /// For how long there has been no step, if that is too long. Before the first one nothing is too long.
    fn stands_still(&self, now: Timestamp) -> Option<SignedDuration> {
        let last = Some(self.0.load(Ordering::Relaxed)).filter(|last| *last != 0)?;
        let silent = SignedDuration::from_millis(now.as_millisecond().saturating_sub(last));
        (silent > Self::STILL).then_some(silent)
    }
}

/// Copies numbers that others keep into the metrics, before each scrape.
pub type BeforeScrape = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// What the pages are made from.
#[derive(Clone)]
pub struct Console {
    /// What `/readyz` tells.
    pub gate: ReadyGate,
    /// What `/livez` tells.
    pub heartbeat: Heartbeat,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Runs before each scrape.
    pub before_scrape: Option<BeforeScrape>,
    /// What the pages show.
    pub snapshots: Arc<dyn SnapshotSource>,
    /// What is expected, for metrics and reports.
    pub forecasts: ForecastSource,
    /// When they show it.
    pub clock: Arc<dyn Clock>,
    /// Closed incidents that can still be read.
    pub recent: RecentIncidents,
    /// Incidents that this replica no longer has in memory.
    pub archive: ArchiveSource,
    /// Where incidents are that are of no tenant's workload: of nodes, and of Homeostat itself.
    pub home: Name,
}

/// The routes: `/livez`, `/readyz`, `/metrics`, `/`, `/incidents/{name}` (also `/report.md`, `/report.json` below it),
/// `/report` (also `.md` and `.json`) of all incidents that are known here, or of those that
/// `?from=INSTANT&to=INSTANT&tenant=NAME&namespace=NAME` asks for, and `/api/snapshot.json`.
pub fn router(console: Console) -> axum::Router {
    axum::Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/", get(front))
        .route("/incidents/{name}", get(incident_html))
        .route("/incidents/{name}/report.md", get(incident_markdown))
        .route("/incidents/{name}/report.json", get(incident_json))
        .route("/report", get(run_html))
        .route("/report.md", get(run_markdown))
        .route("/report.json", get(run_json))
        .route("/api/snapshot.json", get(summary))
        .fallback(|uri: Uri| async move { missing(None, &home_from(uri.path())) })
        .with_state(console)
}

/// Serves until `stop`; requests under way are answered. Stop it last, so that `/readyz` can tell that the
/// process is ending.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// A loop that stands still keeps its lease and heals nothing; only a restart helps.
async fn live(State(console): State<Console>) -> (StatusCode, String) {
    match console.heartbeat.stands_still(console.clock.now()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(silent) => {
            let text = format!("the loop has made no step for {} s\n", silent.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn ready(State(console): State<Console>) -> (StatusCode, &'static str) {
    match console.gate.readiness() {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting: caches are not synced yet\n"),
        Readiness::Ready => (StatusCode::OK, "ok\n"),
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

async fn metrics(State(console): State<Console>) -> impl IntoResponse {
    if let Some(before) = &console.before_scrape {
        before(&console.metrics);
    }
    console.metrics.snapshot(&console.snapshots.current());
    console.forecasts.read(|forecasts| console.metrics.forecast_values(forecasts));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], console.metrics.text())
}

async fn front(State(console): State<Console>) -> Response {
    let snapshot = console.snapshots.current();
    let page = status::html(&snapshot, &console.recent.list(), console.gate.readiness(), console.clock.now());
    page.map_or_else(|error| failed(&error), |page| document("text/html; charset=utf-8", page))
}

async fn summary(State(console): State<Console>) -> Response {
    let snapshot = console.snapshots.current();
    let summary =
        status::summary(&snapshot, &console.recent.list(), console.gate.readiness(), console.clock.now());
    serde_json::to_string_pretty(&summary)
        .map_err(ReportError::from)
        .map_or_else(|error| failed(&error), |text| document("application/json", text))
}

async fn incident_html(State(console): State<Console>, Path(name): Path<String>) -> Response {
    report(&console, name, "../", "text/html; charset=utf-8", IncidentReport::served).await
}

async fn incident_markdown(State(console): State<Console>, Path(name): Path<String>) -> Response {
    report(&console, name, "../../", "text/markdown; charset=utf-8", |report| Ok(report.markdown())).await
}

async fn incident_json(State(console): State<Console>, Path(name): Path<String>) -> Response {
    report(&console, name, "../../", "application/json", IncidentReport::json).await
}

async fn run_html(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    run_report(&console, query, "text/html; charset=utf-8", RunReport::html).await
}

async fn run_markdown(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    run_report(&console, query, "text/markdown; charset=utf-8", |report| Ok(report.markdown())).await
}

async fn run_json(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    run_report(&console, query, "application/json", RunReport::json).await
}

async fn run_report(
    console: &Console,
    query: Option<String>,
    media: &'static str,
    render: fn(&RunReport) -> Result<String, ReportError>,
) -> Response {
    let filter = match Filter::parse(query.as_deref().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(refused) => return (StatusCode::BAD_REQUEST, format!("{refused}\n")).into_response(),
    };
    let report = if filter == Filter::default() {
        let mut report = all_of_here(console);
        report.tables.extend(console.forecasts.read(forecasts::table));
        report
    } else {
        match what_is_asked_for(console, &filter).await {
            Ok(report) => report,
            Err(answer) => return answer,
        }
    };
    render(&report).map_or_else(|error| failed(&error), |text| document(media, text))
}

/// The report of what this replica knows: all that is open, and what closed since it started.
fn all_of_here(console: &Console) -> RunReport {
    let now = console.clock.now();
    let all = known_here(console, &Filter::default(), now);
    let from = all.first().map_or(now, |report| report.incident.instants.impact_start);
    let mut report = RunReport::of_incidents("Incidents of this replica", (from, now), &all, now);
    report.introduction.push(
        "What is open, and the newest of what closed since this replica started, from the first impact on. Earlier \
         ones: kubectl get incidents -A."
            .to_owned(),
    );
    report.tables.extend(late::table(&console.snapshots.current(), |_, _| true));
    report
}

/// What this replica knows and the filter shows, oldest first.
fn known_here(console: &Console, filter: &Filter, now: Timestamp) -> Vec<IncidentReport> {
    let (snapshot, closed) = (console.snapshots.current(), console.recent.list());
    let mut actions: BTreeMap<&IncidentId, Vec<&ActionRecord>> = BTreeMap::new();
    for action in snapshot.actions.values() {
        actions.entry(&action.incident).or_default().push(action);
    }
    let open = snapshot.incidents.values().filter(|incident| filter.shows(incident)).map(|incident| {
        let of_it = actions.get(&incident.id).into_iter().flatten();
        IncidentReport {
            incident: Incident::clone(incident),
            actions: in_order(of_it.map(|action| ActionRecord::clone(action)).collect()),
            made_at: now,
        }
    });
    let closed = closed.iter().filter(|closed| {
        filter.shows(&closed.incident) && !snapshot.incidents.contains_key(&closed.incident.id)
    });
    let mut all: Vec<IncidentReport> =
        open.chain(closed.map(|closed| closed.report(&snapshot, now))).collect();
    sort(&mut all);
    all
}

fn sort(all: &mut [IncidentReport]) {
    all.sort_by(|one, other| {
        let (one, other) = (&one.incident, &other.incident);
        (one.instants.impact_start, &one.id).cmp(&(other.instants.impact_start, &other.id))
    });
}

/// The report of what a filter asks for: of a period also what only the API server still has.
async fn what_is_asked_for(console: &Console, filter: &Filter) -> Result<RunReport, Response> {
    let (snapshot, now) = (console.snapshots.current(), console.clock.now());
    let namespaces = namespaces_of(&snapshot, filter, &console.home).map_err(|unknown| {
        let text = format!("there is no tenant {unknown} that owns a namespace; see kubectl get tenants\n");
        (StatusCode::NOT_FOUND, text).into_response()
    })?;
    let mut all = known_here(console, filter, now);
    let mut notes = Vec::new();
    if let Some((from, to)) = filter.period {
        let busy = |busy| (StatusCode::SERVICE_UNAVAILABLE, format!("{busy}\n")).into_response();
        match console.archive.enter().map_err(|refused| busy(refused.to_string()))? {
            None => notes.push("Only what this replica knows is shown.".to_owned()),
            Some((_one, archive)) => {
                match archive.period(from, to, filter.tenant.clone(), namespaces).await {
                    Ok(past) => {
                        let here: BTreeSet<IncidentId> =
                            all.iter().map(|report| report.incident.id.clone()).collect();
                        let stored = past.incidents.into_iter().map(|closed| closed.report(&snapshot, now));
                        all.extend(stored.filter(|report| !here.contains(&report.incident.id)));
                        if past.cut {
                            notes.push(
                                "There are more incidents than are shown; ask for a shorter period."
                                    .to_owned(),
                            );
                        }
                    }
                    Err(why) => {
                        notes.push(format!(
                            "The API server could not be read ({why}): only what this replica knows is shown."
                        ));
                    }
                }
            }
        }
        notes.push(
            "Incidents that were recognised in the period, as far as the API server still keeps them."
                .to_owned(),
        );
    }
    sort(&mut all);
    let first = all.first().map_or(now, |report| report.incident.instants.impact_start);
    let title = format!("Incidents{}", filter.whose());
    let mut report = RunReport::of_incidents(title, filter.period.unwrap_or((first, now)), &all, now);
    report.introduction.extend(notes);
    report.tables.extend(late::table(&snapshot, |tenant, key| filter.shows_runs(tenant, key)));
    Ok(report)
}

/// Where what a filter shows can be; `Err` names a tenant that is not there.
fn namespaces_of(snapshot: &Snapshot, filter: &Filter, home: &Name) -> Result<Vec<Name>, Name> {
    let tenants =
        snapshot.tenants.values().filter(|one| filter.tenant.as_ref().is_none_or(|name| one.name.0 == *name));
    let owned: BTreeSet<Name> = tenants.flat_map(|tenant| tenant.namespaces.iter().cloned()).collect();
    match (&filter.tenant, &filter.namespace) {
        (Some(tenant), _) if owned.is_empty() => Err(tenant.clone()),
        (Some(_), Some(namespace)) => Ok(owned.into_iter().filter(|one| one == namespace).collect()),
        (None, Some(namespace)) => Ok(vec![namespace.clone()]),
        (Some(_), None) => Ok(owned.into_iter().collect()),
        (None, None) => {
            let others = snapshot.incidents.values().map(|incident| incident.namespace.clone());
            let all: BTreeSet<Name> = owned.into_iter().chain(others).chain([home.clone()]).collect();
            Ok(all.into_iter().collect())
        }
    }
}

async fn report(
    console: &Console,
    name: String,
    home: &str,
    media: &'static str,
    render: fn(&IncidentReport) -> Result<String, ReportError>,
) -> Response {
    let id = IncidentId::new(name);
    let (snapshot, now) = (console.snapshots.current(), console.clock.now());
    let here = match snapshot.incidents.get(&id) {
        Some(incident) => Some(IncidentReport {
            incident: Incident::clone(incident),
            actions: actions_of(&snapshot, incident),
            made_at: now,
        }),
        None => console.recent.get(&id).map(|closed| closed.report(&snapshot, now)),
    };
    let found = match here {
        Some(found) => Some(found),
        // What is no name is not asked for.
        None if !crate::filter::is_name(id.as_str()) => None,
        None => match console.archive.enter() {
            Err(busy) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{busy}\n")).into_response(),
            Ok(None) => None,
            Ok(Some((_one, archive))) => match archive.incident(id.clone()).await {
                Ok(found) => found.map(|closed| closed.report(&snapshot, now)),
                Err(why) => {
                    let text = format!(
                        "this replica does not know incident {id}, and the API server could not be read: {why}\n"
                    );
                    return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
                }
            },
        },
    };
    match found {
        None => missing(Some(id.as_str()), home),
        Some(found) => render(&found).map_or_else(|error| failed(&error), |text| document(media, text)),
    }
}

/// The front page as a relative address, also behind a prefix that a proxy takes off.
fn home_from(path: &str) -> String {
    match path.matches('/').count().saturating_sub(1).min(DEEPEST) {
        0 => "./".to_owned(),
        depth => "../".repeat(depth),
    }
}

fn missing(incident: Option<&str>, home: &str) -> Response {
    status::missing(incident, home).map_or_else(
        |error| failed(&error),
        |page| (StatusCode::NOT_FOUND, document("text/html; charset=utf-8", page)).into_response(),
    )
}

/// An incident's actions, oldest first.
pub fn actions_of(snapshot: &Snapshot, incident: &Incident) -> Vec<ActionRecord> {
    let of_it = snapshot.actions.values().filter(|action| action.incident == incident.id);
    in_order(of_it.map(|action| ActionRecord::clone(action)).collect())
}

fn in_order(mut actions: Vec<ActionRecord>) -> Vec<ActionRecord> {
    actions.sort_by_key(|action| (action.instants.intent, action.id.clone()));
    actions
}

/// A page that may load and run nothing: all it needs is in it.
fn document(media: &'static str, body: String) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

fn failed(error: &ReportError) -> Response {
    tracing::error!(%error, "Page could not be made");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("page could not be made: {error}\n")).into_response()
}
