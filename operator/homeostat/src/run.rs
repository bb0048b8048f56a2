//! `homeostat run`: connects the loop to the world.
//!
//! Sources and watches fill two bounded channels; one task owns the [`Kernel`], publishes each generation on the
//! [`Board`] and hands effects to the executor and the incident queue. Everything else reads the board.

use crate::archive::Stored;
use crate::args::RunArgs;
use crate::audit::{self, Audit};
use crate::board::Board;
use crate::clock::SystemClock;
use crate::keeping::Keeping;
use crate::kernel::{Effect, Kernel};
use crate::limits::Limits;
use crate::outside::{Outside, OutsideError, event_reason};
use crate::parts::parts;
use crate::record::FileRecorder;
use crate::sources::{self, World};
use homeostat_cluster::anchors::Anchors;
use homeostat_cluster::client::{ConnectOptions, connect_counting};
use homeostat_cluster::credentials::Credentials;
use homeostat_cluster::forecasts::Forecasts;
use homeostat_cluster::incidents::IncidentQueue;
use homeostat_cluster::reports::StoredIncidents;
use homeostat_cluster::requests::RequestCounts;
use homeostat_console::{
    ArchiveSource, Console, ForecastSource, Heartbeat, Metrics, ReadyGate, RecentIncidents,
};
use homeostat_execute::{ExecuteError, Recorder};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::{
    ActionRecord, ActionState, Clock, Entity, ForecastRecord, Incident, IncidentId, IncidentState, Name,
    Observation, SeededIds, Severity, Signal, SnapshotSource, Timestamp,
};
use homeostat_observe::{Counters, Inlet, SourceError};
use homeostat_scale::outlook::{Forecasting, OutlookConfig, OutlookConfigError};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Batches of telemetry that may wait, of 512 records each; senders whose tenant has its share of it are told to come back.
const TELEMETRY_QUEUE: usize = 256;
/// Object changes that may wait; the watches wait too when it is full.
const OBJECT_QUEUE: usize = 4_096;
/// Own action states that may wait.
const ACTION_QUEUE: usize = 1_024;
/// Object changes that are taken into one step.
const STEP_OBJECTS: usize = 2_048;
/// The loop looks at the time so often even when nothing arrives.
const TICK: Duration = Duration::from_millis(100);
/// Open actions that nobody carries out are looked for so often.
const RESUME: Duration = Duration::from_secs(5);

/// Why the control plane ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server or its objects.
    #[error(transparent)]
    Connect(homeostat_cluster::ClusterError),
    /// A listener.
    #[error("cannot listen on {address}; choose another address or end the process that uses it")]
    Listen {
        /// Address as given.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A source could not start.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The record file.
    #[error("the record file {path} cannot be written")]
    Record {
        /// Path as given.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A trusted forwarder is no CIDR.
    #[error("trusted forwarder `{text}` is no address range; write e.g. 10.0.0.0/24")]
    Forwarder {
        /// As given.
        text: String,
    },
    /// The adapters could not be set up.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// The setting of the forecasts.
    #[error("the forecasts cannot be made")]
    Forecasts(#[from] OutlookConfigError),
    /// Signals cannot be received.
    #[error("the process cannot receive signals")]
    Signals(#[source] std::io::Error),
    /// A part ended before it was told to.
    #[error("{part} ended before the process did; the log says why, and the process has to be started again")]
    Ended {
        /// Which part.
        part: &'static str,
    },
}

/// Runs until SIGTERM or SIGINT, or until one of its parts ends by itself.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let started = clock.now();
    let requests = Arc::new(RequestCounts::default());
    let (client, token) =
        connect_counting(&ConnectOptions::default(), &requests).await.map_err(RunError::Connect)?;
    let board = Arc::new(Board::default());
    let counters = Arc::new(Counters::default());
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let recent = RecentIncidents::default();
    let gate = ReadyGate::default();
    let heartbeat = Heartbeat::default();
    let intake = CancellationToken::new();
    let stop = CancellationToken::new();
    let (parts, mut first_end) = parts();
    let credentials = Credentials::default();
    parts.start("credentials", credentials.clone().follow(token, intake.clone()));

    let recorder: Arc<dyn Recorder> = Arc::new(match &args.record {
        None => FileRecorder::off(),
        Some(path) => FileRecorder::to(path)
            .map_err(|source| RunError::Record { path: path.display().to_string(), source })?,
    });

    // The pages first: probes must answer while caches fill.
    let http = TcpListener::bind(args.http)
        .await
        .map_err(|source| RunError::Listen { address: args.http, source })?;
    let snapshots: Arc<dyn SnapshotSource> = Arc::clone(&board) as Arc<dyn SnapshotSource>;
    let scraped = Arc::clone(&counters);
    let incidents = IncidentQueue::new();
    let written = incidents.clone();
    let (messages, inbox) = crate::messages::messages();
    let told = messages.clone();
    let record = Arc::new(audit::Standing::default());
    let (stands, time) = (Arc::clone(&record), Arc::clone(&clock));
    let (sizes_in, sizes) = watch::channel::<Forecasts>(None);
    let (limits_in, limits) = watch::channel::<Forecasts>(None);
    let (runs_in, runs) = watch::channel::<Forecasts>(None);
    let expected = [sizes.clone(), limits.clone()];
    let console = Console {
        gate: gate.clone(),
        heartbeat: heartbeat.clone(),
        metrics: metrics.clone(),
        before_scrape: Some(Arc::new(move |metrics: &Metrics| {
            for (source, fate, total) in scraped.rows() {
                metrics.source_items(source.name(), fate.name(), total);
            }
            for (verb, result, total) in requests.rows() {
                metrics.api_requests(verb, result, total);
            }
            let counts = written.counts();
            for (result, total) in [
                ("created", counts.created),
                ("updated", counts.updated),
                ("failed", counts.failed),
                ("dropped", counts.dropped),
            ] {
                metrics.incident_writes(result, total);
            }
            metrics.incidents_unclosed(counts.unclosed);
            metrics.audit_record(stands.waiting(), stands.lost());
            metrics.credentials_expire(credentials.left(time.now()));
            for (outcome, total) in told.counts() {
                metrics.messages(outcome, total);
            }
        })),
        snapshots: Arc::clone(&snapshots),
        forecasts: ForecastSource::new(move || {
            expected.iter().filter_map(|part| part.borrow().clone()).collect()
        }),
        clock: Arc::clone(&clock),
        recent: recent.clone(),
        home: Name::from(args.namespace.as_str()),
        archive: ArchiveSource::new(Arc::new(Stored(StoredIncidents::new(
            client.clone(),
            args.watched(),
            Arc::clone(&clock),
        )))),
    };
    let pages =
        tokio::spawn(homeostat_console::serve(http, homeostat_console::router(console), stop.clone()));

    let (telemetry_in, telemetry) = homeostat_observe::queue(TELEMETRY_QUEUE);
    let (objects_in, objects) = mpsc::channel(OBJECT_QUEUE);
    let (actions_in, actions) = mpsc::channel(ACTION_QUEUE);
    let world = World { snapshots: &snapshots, clock: &clock, counters: &counters };
    sources::start(&args, &client, &world, telemetry_in, &intake, &parts).await?;

    let audit = match &args.audit_dir {
        None => {
            tracing::warn!("No record of decisions is kept; --audit-dir says where");
            Audit::off(recorder)
        }
        Some(folder) => {
            let anchors = Anchors::new(client.clone(), &args.namespace);
            Audit::start(folder.clone(), &args.identity, recorder, anchors, Arc::clone(&clock), record).await
        }
    };
    let recorder: Arc<dyn Recorder> = Arc::new(audit.clone());
    let (outlooks_in, outlooks) = watch::channel(Arc::default());
    let forecasts_client = client.clone();
    let namespaces = args.watched();
    let objects_of_scalers = objects_in.clone();
    let keeping = Keeping::new(client.clone(), namespaces.clone(), runs_in, intake.clone());
    let outside = Outside::start(
        &args,
        client,
        &board,
        &clock,
        recorder,
        objects_in,
        actions_in,
        [sizes.clone(), limits, runs],
        incidents,
        (messages, inbox),
        started,
        &parts,
    )?;
    let forecasting = Forecasting::new(OutlookConfig::default())?;
    let limits = Limits::new()?;
    let most = crate::forecasts::room(crate::forecasts::memory_limit());
    let (clock_of_sizes, metrics_of_sizes, stop_of_sizes) =
        (Arc::clone(&clock), metrics.clone(), intake.clone());
    parts.start("forecasts", async move {
        let (clock, stop) = (clock_of_sizes, stop_of_sizes);
        let (loads, memory) = crate::kept::load(&forecasts_client, &namespaces, &stop).await.apart();
        let forecasts = crate::forecasts::run(
            crate::forecasts::Forecaster::new(forecasting, loads, most),
            Arc::clone(&snapshots),
            Arc::clone(&clock),
            metrics_of_sizes,
            outlooks_in,
            stop.clone(),
        );
        let (scalers_in, scalers) = watch::channel(Arc::default());
        let others = homeostat_cluster::scalers::run(
            forecasts_client,
            namespaces,
            Arc::clone(&snapshots),
            Arc::clone(&clock),
            scalers_in,
            objects_of_scalers,
            stop.clone(),
        );
        let limits =
            crate::limits::run(limits, Arc::clone(&snapshots), Arc::clone(&clock), limits_in, stop.clone());
        let sizes = crate::sizes::run(snapshots, clock, memory, outlooks, scalers, sizes_in, stop);
        tokio::join!(forecasts, others, limits, sizes);
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), identity = %args.identity, "Started");

    let kernel = Kernel::new(
        homeostat_playbooks::library::shipped(),
        Box::new(SeededIds::new(seed(started, &args.identity))),
        Name::from(args.namespace.as_str()),
    );
    let mut turn = Turn {
        kernel,
        board,
        clock,
        metrics,
        recent,
        gate: gate.clone(),
        heartbeat,
        audit: audit.clone(),
        keeping,
        led: false,
        states: BTreeMap::new(),
        resumed: None,
    };
    let ended = shutdown_signal()?;
    let broken = tokio::select! {
        () = turn.run(telemetry, objects, actions, sizes, &outside) => Some("watches"),
        part = first_end.wait() => Some(part),
        name = ended => {
            tracing::info!(signal = name, "Stopping");
            None
        }
    };
    if let Some(part) = broken {
        tracing::error!(part, "A part ended by itself; the process stops and has to be started again");
    }

    // Unready first, so that nobody sends more; then no more intake; then what is under way; the lease last.
    gate.close();
    intake.cancel();
    let drained = tokio::time::timeout(Duration::from_secs(args.drain_seconds), outside.stop()).await;
    if drained.is_err() {
        tracing::warn!("Some work was still under way; it is taken up again from the ledger");
    }
    audit.close();
    stop.cancel();
    if tokio::time::timeout(Duration::from_secs(2), pages).await.is_err() {
        tracing::debug!("A page was still being read");
    }
    tracing::info!("Stopped");
    broken.map_or(Ok(()), |part| Err(RunError::Ended { part }))
}

/// A seed that differs between replicas and starts; ids must be unique, not secret.
fn seed(started: Timestamp, identity: &str) -> u64 {
    identity.bytes().fold(started.as_nanosecond() as u64, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn shutdown_signal() -> Result<impl Future<Output = &'static str>, RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// The one task that owns the loop.
struct Turn {
    kernel: Kernel,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    recent: RecentIncidents,
    gate: ReadyGate,
    heartbeat: Heartbeat,
    audit: Audit,
    keeping: Keeping,
    led: bool,
    /// Last written state of each open incident, how often it had come back, and how bad it was.
    states: BTreeMap<IncidentId, (IncidentState, u32, Severity)>,
    resumed: Option<tokio::time::Instant>,
}

impl Turn {
    async fn run(
        &mut self,
        mut telemetry: Inlet,
        mut objects: mpsc::Receiver<Observation>,
        mut actions: mpsc::Receiver<ActionRecord>,
        mut sizes: watch::Receiver<Forecasts>,
        outside: &Outside,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut batch: Vec<Observation> = Vec::new();
        let mut ended: Vec<ActionRecord> = Vec::new();
        loop {
            // Objects before telemetry: a span of a pod that is not known yet says less.
            tokio::select! {
                biased;
                object = objects.recv() => match object {
                    Some(object) => batch.push(object),
                    None => return,
                },
                Some(action) = actions.recv() => {
                    self.tell(&action, outside);
                    ended.extend(action.state.ended().then(|| action.clone()));
                    batch.push(stored(action, self.clock.now()));
                }
                Ok(()) = sizes.changed() => {
                    let newest = sizes.borrow_and_update().clone();
                    self.size(newest.as_ref().map_or(&[], |all| all.as_slice()), outside);
                }
                Some(more) = telemetry.recv() => batch.extend(more),
                _ = tick.tick() => {}
            }
            while batch.len() < STEP_OBJECTS
                && let Ok(object) = objects.try_recv()
            {
                batch.push(object);
            }
            while let Ok(action) = actions.try_recv() {
                self.tell(&action, outside);
                ended.extend(action.state.ended().then(|| action.clone()));
                batch.push(stored(action, self.clock.now()));
            }
            while batch.len() < STEP_OBJECTS
                && let Some(more) = telemetry.try_recv()
            {
                batch.extend(more);
            }
            self.metrics.queue(telemetry.len());
            self.step(&batch, outside);
            batch.clear();
            if !ended.is_empty() {
                let newest = sizes.borrow().clone();
                self.size_after(&mut ended, newest.as_ref().map_or(&[], |all| all.as_slice()), outside);
            }
        }
    }

    fn step(&mut self, batch: &[Observation], outside: &Outside) {
        let now = self.clock.now();
        let leads = outside.leads();
        if leads != self.led {
            self.led = leads;
            self.resumed = None;
            self.metrics.leader(leads);
            if leads {
                // Another leader may have learnt since, or this process was not there.
                self.kernel.hold_runs();
                self.keeping.read();
            }
            tracing::info!(leads, "Leadership changed");
        }
        if let Some((fault, breach)) = outside.breach() {
            self.kernel.halt(&fault, breach);
        }
        let full = outside.store_full();
        self.metrics.store_full(full);
        self.kernel.store_full(full);
        if leads {
            for one in batch {
                let Signal::Object(change) = &one.signal else { continue };
                for release in self.kernel.snapshot().let_go(change) {
                    self.audit.let_go(&release);
                }
            }
        }
        if !leads {
            self.follow_closed(batch);
        }
        if let Some(kept) = self.keeping.came() {
            self.kernel.recall_runs(kept);
        }
        let effects = self.kernel.step(batch, now, leads);
        if let Some(keep) = self.kernel.kept_runs() {
            self.keeping.keep(keep);
        }
        self.board.publish(self.kernel.snapshot().clone());
        if self.kernel.snapshot().ready() {
            self.gate.open();
        }
        self.carry_out(effects, outside);
        if leads && self.kernel.snapshot().ready() {
            let due = self.resumed.is_none_or(|last| last.elapsed() >= RESUME);
            if due {
                #[allow(
                    clippy::disallowed_methods,
                    reason = "a pause between two looks, also when the clock is set"
                )]
                let looked = tokio::time::Instant::now();
                self.resumed = Some(looked);
                outside.resume(self.kernel.snapshot());
            }
        }
        let took = self.clock.now().duration_since(now);
        self.metrics.step(took.unsigned_abs(), now);
        self.metrics.analysis_dropped(self.kernel.dropped());
        self.heartbeat.beat(now);
    }

    /// What the leader closes leaves the snapshot; the pages of this replica still show it.
    fn follow_closed(&self, batch: &[Observation]) {
        let snapshot = self.kernel.snapshot();
        for one in batch {
            let Signal::Object(ObjectChange::Incident(Change::Applied(stored))) = &one.signal else {
                continue;
            };
            let incident = &stored.incident;
            if incident.state.closed() && snapshot.incidents.contains_key(&incident.id) {
                let actions = homeostat_console::http::actions_of(snapshot, incident);
                self.recent.add(incident.clone(), actions);
            }
        }
    }

    /// New decisions about sizes.
    fn size(&mut self, records: &[ForecastRecord], outside: &Outside) {
        let effects = self.kernel.size(records, self.clock.now(), outside.leads());
        self.board.publish(self.kernel.snapshot().clone());
        self.carry_out(effects, outside);
    }

    /// Ways down that are over make room for more. What is kept is tried again in the next turn: its task is just ending.
    fn size_after(&mut self, ended: &mut Vec<ActionRecord>, records: &[ForecastRecord], outside: &Outside) {
        let (now, leads) = (self.clock.now(), outside.leads());
        ended.retain(|over| {
            let Some(Effect::Execute(plan, finding)) = self.kernel.size_after(over, records, now, leads)
            else {
                return false;
            };
            self.board.publish(self.kernel.snapshot().clone());
            match outside.start_plan(&plan, finding) {
                Ok(_) => false,
                Err(ExecuteError::AlreadyRunning { .. }) => true,
                Err(error) => {
                    tracing::info!(error = %error, "Plan was not begun");
                    false
                }
            }
        });
    }

    fn carry_out(&mut self, effects: Vec<Effect>, outside: &Outside) {
        for effect in effects {
            match effect {
                Effect::Write(incident) => self.write(incident, outside),
                Effect::Said(incident, text) => self.audit.planned(&incident, &text),
                Effect::Held(workload, why) => {
                    tracing::warn!(%workload, why, "A run cannot be started");
                }
                Effect::Execute(plan, finding) => {
                    let incident = plan.incident.clone();
                    if let Err(error) = outside.start_plan(&plan, finding) {
                        tracing::info!(%incident, plan = %plan.id, error = %error, "Plan was not begun");
                        // What is under way, or stands, is not asked for again at once.
                        let waits = matches!(
                            error,
                            ExecuteError::AlreadyRunning { .. }
                                | ExecuteError::AlreadyProposed { .. }
                                | ExecuteError::Busy { .. }
                        );
                        if !waits {
                            self.kernel.landed(&incident);
                        }
                    }
                }
            }
        }
    }

    /// An own action moved on: Events and metrics.
    fn tell(&self, action: &ActionRecord, outside: &Outside) {
        // What no incident asks for is worth a warning when a person has to decide.
        let incident = self.kernel.snapshot().incidents.get(&action.incident);
        outside.tell_action(action, incident.map_or(Severity::Warning, |incident| incident.severity));
        self.metrics.action(action.kind(), action.state);
        match action.state {
            ActionState::Refused | ActionState::Claimed => {
                for guard in &action.guards {
                    self.metrics.guard(guard.name, guard.result);
                }
            }
            ActionState::Sent => {
                if let Some(took) = action
                    .instants
                    .sent
                    .zip(action.instants.intent)
                    .map(|(sent, from)| sent.duration_since(from))
                {
                    self.metrics.effect(took.unsigned_abs());
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, incident: Arc<Incident>, outside: &Outside) {
        let known = (incident.state, incident.reopen_count, incident.severity);
        let before = self.states.insert(incident.id.clone(), known);
        if before.is_none() {
            // Those that were deleted, or closed by another leader, had no last write.
            let open = &self.kernel.snapshot().incidents;
            self.states.retain(|id, _| open.contains_key(id));
            self.metrics.incident_opened(&incident);
            for finding in &incident.findings {
                self.metrics.finding(finding.kind);
            }
            tracing::info!(incident = %incident.id, summary = %incident.summary(), "Incident opened");
        }
        let was = before.map(|(state, ..)| state);
        let mitigated = incident.state == IncidentState::Mitigated && was != Some(IncidentState::Mitigated);
        // What was only expected was never to be restored.
        if mitigated && !incident.only_tells() {
            self.metrics.incident_mitigated(&incident);
        }
        if incident.state.closed() {
            self.states.remove(&incident.id);
            let actions = homeostat_console::http::actions_of(self.kernel.snapshot(), &incident);
            self.recent.add((*incident).clone(), actions);
        }
        let reason = event_reason(before.map(|(state, times, _)| (state, times)), &incident);
        outside.write(incident, reason, before.map(|(.., severity)| severity));
    }
}

fn stored(action: ActionRecord, now: Timestamp) -> Observation {
    Observation {
        tenant: Some(action.tenant.clone()),
        entity: Entity::Workload { key: action.workload.clone() },
        event_time: now,
        arrival_time: now,
        signal: Signal::Object(ObjectChange::Action(Change::Applied(Arc::new(action)))),
    }
}
