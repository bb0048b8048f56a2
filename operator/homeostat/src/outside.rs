//! Everything outside of the loop that it is connected to: watches, lease, executor, incident and status writers.

use crate::args::RunArgs;
use crate::board::Board;
use crate::messages::told::{self, Message};
use crate::messages::{self, Inbox, Messages};
use crate::parts::Parts;
use homeostat_cluster::elector::lease::KubeLease;
use homeostat_cluster::elector::machine::{InvalidTiming, Timing};
use homeostat_cluster::elector::{Elector, Leadership};
use homeostat_cluster::forecasts::{ForecastWriter, Forecasts};
use homeostat_cluster::incidents::{IncidentQueue, IncidentStore};
use homeostat_cluster::janitor::{Janitor, Retention};
use homeostat_cluster::ledger::{ApiActuator, ApiLedger};
use homeostat_cluster::recorder::{
    EventPublisher, EventReason, EventRecorder, Fact, recorder as event_recorder,
};
use homeostat_cluster::reports::{PagesUrl, ReportWriter};
use homeostat_cluster::status::{RouteStandings, SelfFacts, StatusWriter};
use homeostat_cluster::validate::Catalogue;
use homeostat_cluster::watches::{WatchOptions, Watches};
use homeostat_execute::driver::Ports;
use homeostat_execute::{ExecuteError, Executor, ExecutorConfig, Recorder};
use homeostat_knowledge::records::Amounts;
use homeostat_knowledge::{
    ActionId, ActionRecord, Admitted, Clock, Finding, Incident, IncidentId, IncidentState, Name, Observation,
    Plan, Severity, Snapshot, SnapshotSource, Timestamp,
};
use kube::Client;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Why the adapters could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The lease's times contradict each other.
    #[error("the lease's times cannot work")]
    Timing(#[from] InvalidTiming),
}

type ApiExecutor = Executor<ApiLedger, ApiActuator, Leadership>;

/// Handles of everything that runs beside the loop.
pub struct Outside {
    leadership: Leadership,
    executor: ApiExecutor,
    incidents: IncidentQueue,
    events: EventRecorder,
    messages: Messages,
    clock: Arc<dyn Clock>,
    pages: Option<PagesUrl>,
    /// Cancelled first: nothing new is seen.
    watches_stop: CancellationToken,
    /// Cancelled next: no new writes.
    writers_stop: CancellationToken,
    /// Cancelled last: the lease is given away.
    lease_stop: CancellationToken,
    watches: JoinHandle<()>,
    elector: JoinHandle<()>,
    writers: Vec<JoinHandle<()>>,
}

impl Outside {
    /// Starts everything. Observations of objects go to `objects`, own action states to `actions`; what comes in by
    /// `forecasts` is written.
    #[allow(clippy::too_many_arguments, reason = "wiring: every part is named once")]
    pub fn start(
        args: &RunArgs,
        client: Client,
        board: &Arc<Board>,
        clock: &Arc<dyn Clock>,
        recorder: Arc<dyn Recorder>,
        objects: mpsc::Sender<Observation>,
        actions: mpsc::Sender<ActionRecord>,
        forecasts: [watch::Receiver<Forecasts>; 3],
        incidents: IncidentQueue,
        (messages, inbox): (Messages, Inbox),
        started: Timestamp,
        parts: &Parts,
    ) -> Result<Self, OutsideError> {
        let options = WatchOptions {
            namespaces: args.watched(),
            reserved: std::iter::once(args.namespace.clone()).collect(),
            ..WatchOptions::default()
        };
        let mut watches = Watches::start(&client, &options, Arc::clone(clock), objects.clone());
        let catalogue = watches.catalogue();
        let watches_stop = CancellationToken::new();
        let end = watches_stop.clone();
        let watches = parts.start("watches", async move {
            tokio::select! {
                () = watches.ended() => {}
                () = end.cancelled() => watches.stop().await,
            }
        });

        // A restarted pod keeps its name; the start makes it another candidate.
        let identity = format!("{}/{}_{}", args.namespace, args.identity, started.as_millisecond());
        let (elector, leadership) =
            Elector::new(KubeLease::new(client.clone()), identity, Timing::default(), Arc::clone(clock))?;
        let lease_stop = CancellationToken::new();
        let writers_stop = CancellationToken::new();
        let elector = parts.start("elector", elector.run(lease_stop.clone()));
        parts.start(
            "kueue",
            homeostat_cluster::kueue::run(client.clone(), Arc::clone(clock), objects, writers_stop.clone()),
        );

        let (events, publisher) = event_recorder(client.clone(), args.identity.as_str());
        let writing = Writing {
            args,
            client: &client,
            board,
            clock,
            recorder: &recorder,
            leadership: &leadership,
            stop: &writers_stop,
            parts,
        };
        let written = Written { incidents: incidents.clone(), publisher, inbox, catalogue, forecasts };
        let writers = writing.start(written);

        let requester = format!("system:serviceaccount:{}:{}", args.namespace, args.service_account);
        let config = ExecutorConfig {
            identity: Name::from(requester),
            most_per_container: Amounts {
                cpu_millis: args.most_cpu_per_container,
                memory_bytes: args.most_memory_per_container,
            },
            ..ExecutorConfig::new(args.namespace.as_str())
        };
        let executor = Executor::new(
            Ports {
                ledger: ApiLedger::new(client.clone(), Arc::clone(clock)),
                actuator: ApiActuator::new(client),
                leadership: leadership.clone(),
                clock: Arc::clone(clock),
                snapshots: Arc::clone(board) as Arc<dyn SnapshotSource>,
                generations: board.generations(),
                published: actions,
                recorder,
            },
            config,
        );
        Ok(Self {
            leadership,
            executor,
            incidents,
            events,
            messages,
            clock: Arc::clone(clock),
            pages: args.pages_url.clone(),
            watches_stop,
            writers_stop,
            lease_stop,
            watches,
            elector,
            writers,
        })
    }

    /// Whether this replica may act now.
    pub fn leads(&self) -> bool {
        self.leadership.leads()
    }

    /// Whether the API server's store takes no writes, as the renewals of the lease tell.
    pub fn store_full(&self) -> bool {
        self.leadership.store_full()
    }

    /// Begins an admitted plan.
    pub fn start_plan(
        &self,
        plan: &Plan<Admitted>,
        finding: Option<Finding>,
    ) -> Result<ActionId, ExecuteError> {
        self.executor.start(plan, finding)
    }

    /// The first invariant that was found broken here: the part that is the same for the same invariant and action, and
    /// all of it. From then on the executor refuses everything.
    pub fn breach(&self) -> Option<(String, Name)> {
        let breaches = self.executor.breaches();
        let breach = breaches.first()?;
        Some((breach.fault(), Name::from(breach.to_string())))
    }

    /// Takes up open actions that nobody carries out.
    pub fn resume(&self, snapshot: &Snapshot) {
        let count = self.executor.resume(ApiExecutor::open_actions(snapshot));
        if count > 0 {
            tracing::info!(count, "Open actions were taken up");
        }
        let executor = self.executor.clone();
        tokio::spawn(async move { executor.close_proposals().await });
    }

    /// Stores an incident in the background, and tells of it for this reason. `was`: how bad it was when it was written
    /// last; who is told of nothing as mild as that is told that it got worse.
    pub fn write(&self, incident: Arc<Incident>, reason: Option<EventReason>, was: Option<Severity>) {
        if let Some(reason) = reason {
            self.events.tell(Fact::of_incident(reason, &incident, incident.summary()));
        }
        let now = self.clock.now();
        let message = told::because(reason, was, &incident, now)
            .and_then(|(reason, worse)| told::of_incident(reason, &incident, worse, now));
        if let Some(message) = message {
            let url = self.page(&incident.id);
            self.messages.tell(Message { url, ..message });
        }
        if !self.incidents.submit(incident) {
            tracing::warn!("An incident could not be queued; its next change is written again");
        }
    }

    /// Tells of an action's new state; `severity` is that of its incident.
    pub fn tell_action(&self, action: &ActionRecord, severity: Severity) {
        if let Some(fact) = Fact::of_action(action) {
            self.events.tell(fact);
        }
        if let Some(message) = told::of_action(action, severity, self.clock.now()) {
            let url = self.page(&action.incident);
            self.messages.tell(Message { url, ..message });
        }
    }

    /// Where people read about an incident, if it is known where the pages are.
    fn page(&self, incident: &IncidentId) -> Option<String> {
        Some(self.pages.as_ref()?.incident_page(&incident.0))
    }

    /// Ends in order: watches, running actions (left to the ledger), writers, the lease.
    pub async fn stop(self) {
        let Self { watches_stop, watches, executor, writers_stop, lease_stop, elector, writers, .. } = self;
        watches_stop.cancel();
        let _ended = watches.await;
        writers_stop.cancel();
        for writer in writers {
            let _ended = writer.await;
        }
        lease_stop.cancel();
        let _ended = elector.await;
        // Without the lease running actions end at their next step; what they stored is taken up by the next leader.
        executor.drain().await;
    }
}

/// What every writer is made of, and where it stops.
struct Writing<'a> {
    args: &'a RunArgs,
    client: &'a Client,
    board: &'a Arc<Board>,
    clock: &'a Arc<dyn Clock>,
    recorder: &'a Arc<dyn Recorder>,
    leadership: &'a Leadership,
    stop: &'a CancellationToken,
    parts: &'a Parts,
}

/// What is written, and where to.
struct Written {
    incidents: IncidentQueue,
    publisher: EventPublisher,
    inbox: Inbox,
    catalogue: Catalogue,
    forecasts: [watch::Receiver<Forecasts>; 3],
}

impl Writing<'_> {
    /// Starts the writers, each a part of its own; each writes only while this replica leads.
    fn start(&self, written: Written) -> Vec<JoinHandle<()>> {
        let Self { args, client, leadership, parts, .. } = *self;
        let Written { incidents, publisher, inbox, catalogue, forecasts } = written;
        let clock = || Arc::clone(self.clock);
        let snapshots = || Arc::clone(self.board) as Arc<dyn SnapshotSource>;
        let recorder = || Arc::clone(self.recorder);
        let leads = || leadership.clone();
        let stop = || self.stop.clone();

        let store = IncidentStore::new(client.clone(), clock());
        let me = SelfFacts {
            identity: args.identity.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..SelfFacts::default()
        };
        let retention = Retention::default();
        let pages = args.pages_url.clone();
        let reports =
            ReportWriter::new(client.clone(), args.watched(), snapshots(), clock(), retention, pages);
        let routes = catalogue.clone();
        let (standing, shown) = watch::channel(RouteStandings::default());
        let status = StatusWriter::new(client.clone(), catalogue, snapshots(), clock(), me)
            .with_routes(shown)
            .with_recorder(recorder());
        let folder = args.notify_dir.clone();
        let told = messages::run(inbox, folder, clock(), leads(), routes, standing, stop());
        let janitor = Janitor::new(client.clone(), retention, snapshots(), args.watched(), clock());
        let [loads, limits, runs] = forecasts.map(|newest| ForecastWriter::new(client.clone(), newest));
        let release = homeostat_cluster::release::run(
            client.clone(),
            clock(),
            snapshots(),
            recorder(),
            leads(),
            stop(),
        );
        // The list.
        vec![
            parts.start("incidents", incidents.run(store, leads(), stop())),
            parts.start("statuses", status.run(leads(), stop())),
            parts.start("events", publisher.run(leads(), stop())),
            parts.start("reports", reports.run(leads(), stop())),
            parts.start("messages", told),
            parts.start("janitor", janitor.run(leads(), stop())),
            parts.start("forecast objects", loads.run(leads(), stop())),
            parts.start("limit forecast objects", limits.run(leads(), stop())),
            parts.start("kept runs", runs.run(leads(), stop())),
            parts.start("release", release),
        ]
    }
}

/// Why people are told of an incident as it stands now, after what was written of it `before`: its state, and how often it
/// had come back.
pub(crate) fn event_reason(before: Option<(IncidentState, u32)>, incident: &Incident) -> Option<EventReason> {
    let state = incident.state;
    let again = before.is_some_and(|(_, times)| incident.reopen_count > times);
    let other = again || before.is_none_or(|(known, _)| known != state);
    match state {
        IncidentState::Open | IncidentState::Acting if again => Some(EventReason::IncidentReopened),
        // It was over and is kept no more among what was written, or another process wrote it.
        IncidentState::Open if before.is_none() && incident.reopen_count > 0 => {
            Some(EventReason::IncidentReopened)
        }
        IncidentState::Open if before.is_none() => Some(EventReason::IncidentOpened),
        // An action began or ended and it goes on: actions tell for themselves.
        IncidentState::Open | IncidentState::Acting => None,
        IncidentState::Mitigated => other.then_some(EventReason::IncidentMitigated),
        IncidentState::Resolved => other.then_some(EventReason::IncidentResolved),
        IncidentState::HandedOver => other.then_some(EventReason::HandedOver),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::SignedDuration;
    use serde_json::json;

    fn incident(state: IncidentState, reopen_count: u32) -> Incident {
        let at = "2026-11-22T09:00:00Z";
        serde_json::from_value(json!({
            "id": "order-1", "namespace": "shop", "tenant": null, "workload": null, "state": state, "severity": "Critical",
            "findings": [], "causes": [], "affected": [], "timeline": [], "actions": [], "reopen_count": reopen_count,
            "instants": { "impact_start": at, "detected": at, "acknowledged": null, "mitigated": null, "resolved": null },
            "evidence": "e", "handed_over": null, "acknowledged_by": null,
        }))
        .unwrap()
    }

    #[test]
    fn what_was_over_and_comes_back_is_told_as_reopened() {
        let again = incident(IncidentState::Open, 1);
        assert_eq!(event_reason(None, &again), Some(EventReason::IncidentReopened));
        assert_eq!(event_reason(Some((IncidentState::Open, 1)), &again), None, "once");
    }

    #[test]
    fn each_state_is_told_once_and_an_action_that_did_not_help_opens_nothing_anew() {
        use EventReason::{
            HandedOver, IncidentMitigated, IncidentOpened, IncidentReopened, IncidentResolved,
        };
        use IncidentState::{Acting, Mitigated, Open, Resolved};
        let mut before = None;
        for (state, times, told) in [
            (Open, 0, Some(IncidentOpened)),
            (Open, 0, None),
            (Acting, 0, None),
            (Open, 0, None),
            (Acting, 0, None),
            (Mitigated, 0, Some(IncidentMitigated)),
            (Mitigated, 0, None),
            (Open, 1, Some(IncidentReopened)),
            (Mitigated, 1, Some(IncidentMitigated)),
            (Acting, 2, Some(IncidentReopened)),
            (IncidentState::HandedOver, 2, Some(HandedOver)),
            (Mitigated, 2, Some(IncidentMitigated)),
            (Resolved, 2, Some(IncidentResolved)),
        ] {
            assert_eq!(
                event_reason(before, &incident(state, times)),
                told,
                "{before:?} to {state:?}, {times}"
            );
            before = Some((state, times));
        }
    }

    #[test]
    fn who_leads_next_tells_again_only_what_just_happened() {
        use EventReason::{HandedOver, IncidentMitigated, IncidentOpened, IncidentReopened};
        use IncidentState::{Acting, Mitigated};
        use homeostat_analyse::TAKEN_UP;
        use homeostat_knowledge::incident::TimelineKind::State;
        let start: Timestamp = "2026-11-22T09:00:00Z".parse().unwrap();
        let after = |minutes| start + SignedDuration::from_mins(minutes);
        let taken_up = |state, now| {
            let mut one = incident(state, 0);
            one.record(start, State, "opened");
            one.record(now, State, TAKEN_UP);
            one
        };
        // The process before may have ended before anybody was told.
        let early = taken_up(Acting, after(2));
        assert_eq!(told::because(None, None, &early, after(2)), Some((IncidentOpened, None)));
        let again = Incident { reopen_count: 1, ..early };
        assert_eq!(told::because(None, None, &again, after(2)), Some((IncidentReopened, None)));
        let mut well = taken_up(Mitigated, after(60));
        well.instants.mitigated = Some(after(50));
        assert!(told::because(Some(IncidentMitigated), None, &well, after(60)).is_some());
        // Whoever led then has long told it.
        let mut handed = incident(IncidentState::HandedOver, 0);
        handed.record(after(1), State, "handed over to people");
        handed.record(after(60), State, TAKEN_UP);
        assert_eq!(told::because(Some(HandedOver), None, &handed, after(60)), None);
        // Of what this process wrote itself only what changes is told, and that it gets worse.
        let old = taken_up(Acting, after(60));
        assert_eq!(told::because(None, Some(Severity::Critical), &old, after(60)), None);
        let worse = Some((IncidentOpened, Some(Severity::Warning)));
        assert_eq!(told::because(None, Some(Severity::Warning), &old, after(60)), worse);
    }
}
