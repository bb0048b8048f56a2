//! One column of the comparison: the application under load, one fault after the other, and what
//! became of each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::DemoError;
use super::application::{self, NAMESPACE, OUTSIDE};
use super::install::{self, Files};
use super::live::Live;
use super::meter::{Measured, Meter};
use super::mode::{Column, Timed};
use super::platform::Platform;
use super::replay::Recording;
use crate::faults::{self, Injected, Planned, World};
use crate::load::orders::{self, Page, Proof};
use crate::load::process::LoadProcess;
use crate::load::{LoadArgs, LoadSummary};
use crate::result::Requests;
use crate::truth::attribution::Judged;
use crate::truth::judge::NOT_HEALED;
use crate::truth::watch::{Reached, Start};
use crate::truth::{At, FaultRecord, Observer, Span, Verdict, attribute, request};

/// Calm before the first and between faults: no failed attempt on any service.
const QUIET: Span = Span::from_secs(5);
/// Lines of logs need this long to arrive; later attempts are not judged yet.
const ARRIVAL: Span = Span::from_millis(500);
/// A fault without impact by then has none (a leak takes longer).
const IMPACT: Span = Span::from_secs(20);
/// Nobody can heal these alone: how long they are watched without and with Homeostat.
const HOPELESS: Span = Span::from_secs(20);
const HAND_OVER: Span = Span::from_secs(120);
/// Calm must return within this time after the restore.
const SETTLE: Span = Span::from_secs(120);
/// A rollout that is under way when a fault is due.
const ROLLOUT: Span = Span::from_secs(30);
/// After the last fault, so that follow-ups and late alerts are seen.
const TAIL: Duration = Duration::from_secs(15);
/// More faults that cannot be injected end the run.
const MAX_SKIPPED: usize = 5;

/// What all columns share.
pub struct Stage {
    /// The cluster.
    pub platform: Platform,
    /// The demo's files.
    pub files: Files,
    /// The application's program, which also prints its manifests.
    pub program: PathBuf,
    /// Its image on the cluster.
    pub application_image: String,
    /// Homeostat's image on the cluster, when its column is shown.
    pub homeostat_image: Option<String>,
    /// Settings of the application's SDK.
    pub telemetry: application::Telemetry,
    /// Lines for people.
    pub live: Live,
    /// Folder for the files of ground truth.
    pub out: PathBuf,
    /// Decides the faults and the load.
    pub seed: u64,
}

/// What became of a column.
pub struct ColumnRun {
    /// Which.
    pub column: Column,
    /// Faults as injected.
    pub records: Vec<FaultRecord>,
    /// What became of them; one entry per record.
    pub judged: Judged,
    /// Requests and attempts.
    pub requests: Requests,
    /// What it cost.
    pub measured: Measured,
    /// Whether an acknowledged order was lost; `None` when the store could not be asked.
    pub proof: Option<Proof>,
    /// What the load generator counted.
    pub load: LoadSummary,
    /// How long the processes that replaced broken ones needed before they could be called.
    pub starts: Vec<Start>,
    /// When load began.
    pub began: At,
    /// When everything was calm for the first time.
    pub calm: At,
    /// When load ended.
    pub ended: At,
    /// Faults that could not be injected, and why.
    pub skipped: Vec<String>,
    /// Faults after which the harness had to replace pods.
    pub restored_by_harness: usize,
    /// Effects of actions: when, and on which service.
    pub effects: Vec<(At, String)>,
    /// Recorded guard inputs, when Homeostat ran.
    pub guards: Option<Recording>,
}

impl ColumnRun {
    /// Milliseconds from the start of a process until it had come so far.
    pub fn milliseconds(&self, reached: Reached) -> Vec<f64> {
        self.starts.iter().filter(|start| start.reached == reached).map(|start| start.milliseconds).collect()
    }

    /// Starts as they count in a repair, in milliseconds: until the first connection where the container was restarted in
    /// place (most of that is the kubelet's look once a second), until it listened where a new pod had to be seen ready.
    pub fn own_starts(&self) -> Vec<f64> {
        let own = |start: &&Start| start.reached != Reached::CalledAnew;
        self.starts.iter().filter(own).map(|start| start.milliseconds).collect()
    }
}

/// Puts everything there, runs the plan and takes Homeostat away again.
pub async fn run(
    stage: &Stage,
    column: Column,
    plan: &[Timed],
    duration: Option<Duration>,
) -> Result<ColumnRun, DemoError> {
    let live = &stage.live;
    let with_homeostat = column == Column::Homeostat;
    live.say(format!("column    {}: removing what was there", column.title()));
    install::uninstall(&stage.platform).await?;
    application::remove(&stage.platform).await?;
    if with_homeostat {
        let image = stage
            .homeostat_image
            .as_deref()
            .ok_or_else(|| DemoError::Broken("no image of Homeostat".into()))?;
        live.say("column    installing Homeostat through its chart (helm)");
        install::install(&stage.platform, &stage.files, image).await?;
    }
    if !with_homeostat {
        stage.platform.apply(&stage.files.no_collector()?).await?;
    }
    live.say("column    starting the application");
    application::deploy(&stage.platform, column, &stage.program, &stage.application_image, stage.telemetry)
        .await?;
    if with_homeostat {
        install::take_control(&stage.platform, &stage.files).await?;
    }
    let client = stage.platform.client().clone();
    let teller = live.clone();
    let attempts_file = stage.out.join(format!("attempts-{column}.log"));
    let observer = Observer::start(
        &client,
        &[NAMESPACE, OUTSIDE],
        &attempts_file,
        with_homeostat,
        Arc::new(move |line| teller.say(line)),
    )?;
    let result = under_load(stage, column, plan, duration, &observer).await;
    observer.stop().await;
    let guards = if with_homeostat { Some(super::replay::fetch(stage).await) } else { None };
    if with_homeostat {
        install::uninstall(&stage.platform).await?;
    }
    let mut run = result?;
    run.guards = guards;
    Ok(run)
}

async fn under_load(
    stage: &Stage,
    column: Column,
    plan: &[Timed],
    duration: Option<Duration>,
    observer: &Observer,
) -> Result<ColumnRun, DemoError> {
    let live = &stage.live;
    let client = stage.platform.client();
    let requests_file = stage.out.join(format!("requests-{column}.log"));
    // A new file per run: the generator appends.
    let _ = std::fs::remove_file(&requests_file);
    let gateway = application::gateway(client).await?;
    let (command, way) = stage.platform.load_command(gateway).await?;
    let target = way.target.parse().map_err(|error| DemoError::Broken(format!("{}: {error}", way.target)))?;
    let args = LoadArgs {
        target,
        out: requests_file.clone(),
        users: 100,
        rate: 210,
        orders: 55,
        seconds: 7200,
        seed: stage.seed,
    };
    let mut load = LoadProcess::start(command, &args)?;
    let meter = Meter::start(stage.platform.own().cloned(), client.clone(), load.pid());
    let began = At::now();
    live.say(format!(
        "load      {} users, {} requests/s, {} % full orders",
        args.users, args.rate, args.orders
    ));
    let world =
        World::new(client.clone(), observer.clone(), stage.platform.signals(), application::namespaces());
    let director = Director { stage, column, world: &world, observer };
    let outcome = director.play(plan, duration, began, &mut load).await;
    let summary = load.stop().await?;
    let ended = At::now();
    let measured = meter.stop().await;
    drop(way);
    let Played { calm, records, skipped, by_harness } = outcome?;
    let proof = prove(stage, &requests_file).await;
    // Lines that are still on their way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = observer.lock();
    let records: Vec<FaultRecord> = records
        .into_iter()
        .map(|mut record| {
            record.broken.pods = seen.pods.names_of(&record.broken.service).map(str::to_owned).collect();
            record
        })
        .collect();
    let judged = attribute(&records, &seen.history, &seen.incidents, &seen.actions);
    let (attempts, failed_attempts) = seen.history.count(began, ended);
    let within = |at: At, service: &str| {
        records.iter().any(|r| r.broken.service == service && at > r.injected && at < r.restored)
    };
    let starts = seen.starts.iter().filter(|start| within(start.at, &start.service)).cloned().collect();
    let effects = seen.actions.iter().filter(|action| action.has_effect());
    let effects = effects.filter_map(|action| Some((action.at(), action.service.clone()?))).collect();
    drop(seen);
    let text = std::fs::read_to_string(&requests_file).map_err(DemoError::io("read", &requests_file))?;
    let (total, failed) = request::count(text.lines(), began, At(i64::MAX));
    Ok(ColumnRun {
        column,
        records,
        judged,
        requests: Requests { total, failed, attempts, failed_attempts },
        measured,
        proof,
        load: summary,
        starts,
        began,
        calm,
        ended,
        skipped,
        restored_by_harness: by_harness,
        effects,
        guards: None,
    })
}

/// Compares what users were told with what the order service's store has.
async fn prove(stage: &Stage, requests: &Path) -> Option<Proof> {
    let acknowledged = orders::acknowledged_in(requests).ok()?;
    let mut approved = BTreeSet::new();
    let mut after = 0;
    loop {
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/services/order:http/proxy/orders?after={after}&limit={}",
            orders::PAGE
        );
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        let page: Page = match stage.platform.client().request(request).await {
            Ok(page) => page,
            Err(error) => {
                stage.live.say(format!("orders    the store could not be read: {error}"));
                return None;
            }
        };
        approved
            .extend(page.orders.into_iter().filter(|order| order.state == "APPROVED").map(|order| order.id));
        match page.next {
            Some(next) => after = next,
            None => return Some(orders::prove(&acknowledged, &approved)),
        }
    }
}

struct Director<'a> {
    stage: &'a Stage,
    column: Column,
    world: &'a World,
    observer: &'a Observer,
}

struct Played {
    calm: At,
    records: Vec<FaultRecord>,
    skipped: Vec<String>,
    by_harness: usize,
}

impl Director<'_> {
    fn say(&self, text: impl Into<String>) {
        self.stage.live.say(text);
    }

    async fn play(
        &self,
        plan: &[Timed],
        duration: Option<Duration>,
        began: At,
        load: &mut LoadProcess,
    ) -> Result<Played, DemoError> {
        if self.column == Column::Homeostat {
            install::warmed_up(&self.stage.platform).await?;
        }
        if !self.settle(began).await? {
            return Err(DemoError::Broken(
                "the application fails under load without any fault; see its logs and the file of attempts"
                    .to_owned(),
            ));
        }
        let calm = At::now();
        let (mut records, mut skipped, mut by_harness) = (Vec::new(), Vec::new(), 0);
        for (index, timed) in plan.iter().enumerate() {
            if !load.is_running() {
                return Err(DemoError::Broken(
                    "the load generator ended; see its error output above".to_owned(),
                ));
            }
            let fault = &timed.fault;
            let next = plan.get(index + 1).and_then(|next| next.at).map(|at| began + span(at));
            if let Some(at) = timed.at {
                sleep_until(began + span(at)).await;
            } else {
                tokio::time::sleep(fault.pause).await;
                // A follow-up of an earlier fault may have begun meanwhile.
                self.rolled_out().await?;
            }
            match self.one(fault, timed.at.is_some(), next).await {
                Ok((record, replaced)) => {
                    by_harness += usize::from(replaced);
                    records.push(record);
                }
                Err(DemoError::Fault(error)) => {
                    self.say(format!("skipped   fault {} on {}: {error}", fault.kind, fault.service));
                    skipped.push(format!("fault {} on {}: {error}", fault.kind.number(), fault.service));
                    if skipped.len() > MAX_SKIPPED {
                        return Err(DemoError::Fault(error));
                    }
                    // Whatever was half done is taken back, and things calm down.
                    let _ = faults::restore(self.world, fault, false).await;
                    self.settle(At::now()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(duration) = duration {
            sleep_until(began + span(duration)).await;
        }
        if self.column == Column::Homeostat {
            tokio::time::sleep(TAIL).await;
        }
        Ok(Played { calm, records, skipped, by_harness })
    }

    /// One fault from injection to calm; says whether the harness had to replace pods.
    async fn one(
        &self,
        fault: &Planned,
        timed: bool,
        next: Option<At>,
    ) -> Result<(FaultRecord, bool), DemoError> {
        let variant = fault.variant.map(|variant| format!(", {}", variant.name())).unwrap_or_default();
        let announce = |at: At| {
            let words = format!("fault     {}{variant}: {} (first kill)", fault.kind, fault.service);
            self.stage.live.at(at, words);
        };
        let injected = faults::inject(self.world, fault, &announce).await?;
        let shown = injected.second.unwrap_or(injected.at);
        self.stage.live.at(shown, format!("fault     {}{variant}: {}", fault.kind, fault.service));
        let verdict = self.watch(fault, &injected, next).await;
        let restored = At::now();
        let mut replaced = false;
        match (verdict.healed, verdict.impact.zip(verdict.mitigated)) {
            (true, Some((impact, mitigated))) => {
                let took = mitigated - impact;
                self.stage
                    .live
                    .at(mitigated, format!("healed    {} after {took} of failures", fault.service));
            }
            (true, None) => {
                self.say(format!("nothing   nobody noticed fault {} on {}", fault.kind, fault.service));
            }
            (false, _) if timed => self.say(format!("waiting   {} does not serve yet", fault.service)),
            (false, _) => {
                replaced = true;
                let passed = At::now() - injected.at;
                self.say(format!(
                    "restore   {} is not healed after {passed}; the harness restores it",
                    fault.service
                ));
            }
        }
        if !timed {
            faults::restore(self.world, fault, verdict.healed).await?;
            if self.column == Column::Probes && verdict.healed {
                self.forget_restarts(&fault.service).await?;
            }
        }
        let settled = if timed {
            restored
        } else {
            if !self.settle(restored).await? {
                self.say(format!("restless  attempts still fail {} s after the restore", SETTLE.seconds()));
            }
            At::now()
        };
        let namespace = self.world.namespaces.get(&fault.service).map_or(NAMESPACE, String::as_str);
        let broken = application::broken(&self.world.client, &fault.service, namespace).await?;
        let record = FaultRecord {
            kind: fault.kind,
            useful_effects: fault.kind.useful_effects(),
            variant: fault.variant.map(faults::Variant::name),
            broken,
            injected: injected.at,
            second: injected.second,
            restored,
            settled,
        };
        Ok((record, replaced))
    }

    /// Watches until the service is well again, handed over, or the time for it is over.
    async fn watch(&self, fault: &Planned, injected: &Injected, next: Option<At>) -> Verdict {
        let since = injected.second.unwrap_or(injected.at);
        let limit = match (fault.kind.can_be_healed(), self.column) {
            (true, _) => NOT_HEALED,
            (false, Column::Homeostat) => HAND_OVER,
            (false, _) => HOPELESS,
        };
        let mut end = since + limit;
        if let Some(next) = next {
            end = end.min(next - Span::from_secs(2));
        }
        let mut told = false;
        loop {
            if told {
                // Each failed attempt would wake it, and there are hundreds a second now.
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                self.observer.changed(Duration::from_millis(100)).await;
            }
            let now = At::now();
            let judged = now - ARRIVAL;
            let attempts = self.observer.lock().history.on(&fault.service, injected.at, now);
            let verdict = Verdict::new(&attempts, since, judged, None);
            if let (Some(impact), false) = (verdict.impact, told) {
                told = true;
                self.stage.live.at(impact, format!("impact    first failed attempt on {}", fault.service));
            }
            let over = match (fault.kind.can_be_healed(), verdict.impact) {
                (true, Some(_)) => verdict.mitigated.is_some(),
                (true, None) => fault.kind != faults::Kind::Leak && now > since + IMPACT,
                (false, _) => self.handed_over(since),
            };
            if over || now > end {
                return verdict;
            }
        }
    }

    /// An incident delivered since then was handed over, a moment ago so that a late restart would show.
    fn handed_over(&self, since: At) -> bool {
        let seen = self.observer.lock();
        let first = seen.incidents.deliveries.iter().find(|d| d.at >= since && d.handed_over).map(|d| d.at);
        first.is_some_and(|at| At::now() > at + Span::from_secs(5))
    }

    /// Restarts by the kubelet leave a back-off behind that would meet the next fault. With probes a
    /// rollout is free of failures, so the next fault finds a fresh pod, in favour of plain Kubernetes.
    async fn forget_restarts(&self, service: &str) -> Result<(), DemoError> {
        let restarted = self.observer.lock().pods.of(service).any(|pod| !pod.deleting && pod.restarts > 0);
        if restarted {
            self.say(format!(
                "fresh     the harness replaces {service}, so that no back-off meets the next fault"
            ));
            self.world.roll(service).await?;
        }
        Ok(())
    }

    /// Waits for complete rollouts, for a while.
    async fn rolled_out(&self) -> Result<(), DemoError> {
        let end = At::now() + ROLLOUT;
        while At::now() < end && !application::incomplete(&self.world.client).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    async fn settle(&self, since: At) -> Result<bool, DemoError> {
        settle(self.observer, &self.world.client, since).await
    }
}

/// Waits for calm and complete rollouts; false when they did not come.
pub(crate) async fn settle(observer: &Observer, client: &kube::Client, since: At) -> Result<bool, DemoError> {
    let end = At::now() + SETTLE;
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = At::now();
        let (last_failure, recent) = {
            let seen = observer.lock();
            (seen.history.last_failure(since), seen.history.count(now - QUIET, now).0)
        };
        let calm_since = last_failure.unwrap_or(since).max(since);
        // Silence is not calm: attempts must come.
        let calm = now - ARRIVAL > calm_since + QUIET && recent > 100;
        if calm && application::incomplete(client).await?.is_empty() {
            return Ok(true);
        }
        if now > end {
            return Ok(false);
        }
    }
}

fn span(duration: Duration) -> Span {
    Span(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

async fn sleep_until(at: At) {
    let left = (at - At::now()).0.max(0);
    tokio::time::sleep(Duration::from_micros(left.unsigned_abs())).await;
}
