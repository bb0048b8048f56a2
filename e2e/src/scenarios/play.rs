//! Plays a plan on the application under load: fault after fault, each from injection to calm.

use std::sync::Arc;
use std::time::Duration;

use super::catalogue::{Entry, Label, Named};
use super::kinds::{self, NEIGHBOUR};
use crate::demo::application::{self, NAMESPACE, OUTSIDE};
use crate::demo::column::{Stage, settle};
use crate::demo::mode::Column;
use crate::demo::{DemoError, install};
use crate::faults::{Injected, World};
use crate::load::LoadArgs;
use crate::load::process::LoadProcess;
use crate::truth::attribution::Judged;
use crate::truth::{At, Broken, FaultRecord, Observer, Span, Verdict, attribute};

/// Lines of logs need this long to arrive; later attempts are not judged yet.
const ARRIVAL: Span = Span::from_millis(500);
/// A fault without impact by then has none.
const IMPACT: Span = Span::from_secs(30);
/// Who must heal it has so long.
const HEAL: Span = Span::from_secs(90);
/// A hand-over is awaited so long: a node counts as lost after 40 s.
const HAND_OVER: Span = Span::from_secs(150);
/// After a hand-over, so that late actions show.
const LATER: Span = Span::from_secs(5);
/// Incidents of one fault get so long to end before the next one: what joins them would not be told apart.
const ENDS: Span = Span::from_secs(90);
/// After the last fault, so that follow-ups are seen.
const TAIL: Duration = Duration::from_secs(15);

/// A fault that was put on.
#[derive(Clone, Debug)]
pub struct Met {
    /// What it is.
    pub entry: Entry,
    /// People were told, or asked for an approval, while it was on.
    pub put_to_people: bool,
    /// Whether its release was taken back, where that tells whether it is healed.
    pub taken_back: Option<bool>,
}

/// What became of the plan.
pub struct Played {
    /// Faults as injected.
    pub records: Vec<FaultRecord<Met>>,
    /// What became of them; one entry per record.
    pub judged: Judged,
    /// Faults that could not be put on, and why.
    pub skipped: Vec<String>,
}

/// Installs, deploys, plays and removes.
pub async fn run(stage: &Stage, plan: &[(Entry, String)]) -> Result<Played, DemoError> {
    let live = &stage.live;
    live.say("stage     removing what was there");
    install::uninstall(&stage.platform).await?;
    application::remove(&stage.platform).await?;
    let image =
        stage.homeostat_image.as_deref().ok_or_else(|| DemoError::Broken("no image of Homeostat".into()))?;
    live.say("stage     installing Homeostat through its chart (helm)");
    install::install(&stage.platform, &stage.files, image).await?;
    live.say("stage     starting the application");
    if stage.platform.own().is_some() {
        kinds::small_volume(&stage.platform).await?;
    }
    application::deploy(
        &stage.platform,
        Column::Homeostat,
        &stage.program,
        &stage.application_image,
        stage.telemetry,
    )
    .await?;
    install::take_control(&stage.platform, &stage.files).await?;
    let client = stage.platform.client().clone();
    let teller = live.clone();
    let attempts = stage.out.join("attempts.log");
    let observer = Observer::start(
        &client,
        &[NAMESPACE, OUTSIDE],
        &attempts,
        true,
        Arc::new(move |line| teller.say(line)),
    )?;
    let result = under_load(stage, plan, &observer).await;
    observer.stop().await;
    install::uninstall(&stage.platform).await?;
    result
}

async fn under_load(
    stage: &Stage,
    plan: &[(Entry, String)],
    observer: &Observer,
) -> Result<Played, DemoError> {
    let client = stage.platform.client();
    let requests = stage.out.join("requests.log");
    // A new file per run: the generator appends.
    let _ = std::fs::remove_file(&requests);
    let gateway = application::gateway(client).await?;
    let (command, way) = stage.platform.load_command(gateway).await?;
    let target = way.target.parse().map_err(|error| DemoError::Broken(format!("{}: {error}", way.target)))?;
    let args =
        LoadArgs { target, out: requests, users: 50, rate: 100, orders: 55, seconds: 7200, seed: stage.seed };
    let load = LoadProcess::start(command, &args)?;
    let world =
        World::new(client.clone(), observer.clone(), stage.platform.signals(), application::namespaces());
    let outcome = play(stage, &world, observer, plan).await;
    load.stop().await?;
    drop(way);
    let (records, skipped) = outcome?;
    // Lines that are still on their way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = observer.lock();
    let records: Vec<_> = records
        .into_iter()
        .map(|mut record: FaultRecord<Met>| {
            record.broken.pods.extend(seen.pods.names_of(&record.broken.service).map(str::to_owned));
            record
        })
        .collect();
    let judged = attribute(&records, &seen.history, &seen.incidents, &seen.actions);
    Ok(Played { records, judged, skipped })
}

type Outcome = (Vec<FaultRecord<Met>>, Vec<String>);

async fn play(
    stage: &Stage,
    world: &World,
    observer: &Observer,
    plan: &[(Entry, String)],
) -> Result<Outcome, DemoError> {
    install::warmed_up(&stage.platform).await?;
    if !settle(observer, &world.client, At::now()).await? {
        return Err(DemoError::Broken("the application fails under load without any fault".to_owned()));
    }
    let (mut records, mut skipped) = (Vec::new(), Vec::new());
    for (entry, service) in plan {
        match one(stage, world, observer, entry, service).await {
            Ok(record) => records.push(record),
            Err(error @ (DemoError::Fault(_) | DemoError::Command { .. } | DemoError::Broken(_))) => {
                stage.live.say(format!("skipped   {} on {service}: {error}", entry.does));
                skipped.push(format!("{:?} on {service}: {error}", entry.kind));
                let _ = kinds::restore(stage, world, entry.kind, service, false).await;
                settle(observer, &world.client, At::now()).await?;
            }
            Err(error) => return Err(error),
        }
    }
    tokio::time::sleep(TAIL).await;
    Ok((records, skipped))
}

async fn one(
    stage: &Stage,
    world: &World,
    observer: &Observer,
    entry: &Entry,
    service: &str,
) -> Result<FaultRecord<Met>, DemoError> {
    let before = world.running(service);
    let injected = kinds::inject(stage, world, entry.kind, service).await?;
    let since = injected.second.unwrap_or(injected.at);
    stage.live.at(since, format!("fault     {:?}: {service} ({})", entry.kind, entry.does));
    let healed = watch(stage, world, observer, entry, service, &injected).await?;
    let taken_back = entry.kind.is_taken_back().then_some(healed);
    let restored = At::now();
    let goes_on = kinds::goes_on(entry.kind, &before, &world.running(service));
    let words = match (entry.label, healed) {
        (Label::MustHeal, true) if goes_on => {
            "callers are well, the fault is still on; the harness restores it"
        }
        (Label::MustHeal, true) => "healed, or nothing was noticed",
        (Label::MustHeal, false) => "not healed; the harness restores it",
        (Label::MustHandOver, _) => "the harness restores it",
    };
    stage.live.say(format!("end       {:?} on {service}: {words}", entry.kind));
    let put_to_people = put_to_people(observer, since).is_some();
    let well = healed && entry.label == Label::MustHeal && !goes_on;
    kinds::restore(stage, world, entry.kind, service, well).await?;
    if !settle(observer, &world.client, restored).await? {
        stage.live.say("restless  attempts still fail long after the restore");
    }
    let end = At::now() + ENDS;
    while observer.lock().incidents.any_open() && At::now() < end {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(FaultRecord {
        kind: Met { entry: entry.clone(), put_to_people, taken_back },
        useful_effects: entry.useful_effects(),
        variant: None,
        broken: broken(stage, world, entry, service).await?,
        injected: injected.at,
        second: injected.second,
        restored,
        settled: At::now(),
    })
}

async fn broken(stage: &Stage, world: &World, entry: &Entry, service: &str) -> Result<Broken, DemoError> {
    let node = stage.platform.own().map(|cluster| cluster.layout().node_name());
    Ok(match entry.cause {
        Named::Service => {
            let namespace = world.namespaces.get(service).map_or(NAMESPACE, String::as_str);
            application::broken(&world.client, service, namespace).await?
        }
        Named::Neighbour => {
            let mut broken = Broken::new(NEIGHBOUR);
            broken.pods.insert(NEIGHBOUR.to_owned());
            broken.nodes.extend(node);
            broken
        }
        Named::Node => {
            let mut broken = Broken::new("node");
            broken.nodes.extend(node);
            broken
        }
    })
}

/// Watches until it is healed or handed over, or the time for it is over; whether it was healed.
async fn watch(
    stage: &Stage,
    world: &World,
    observer: &Observer,
    entry: &Entry,
    service: &str,
    injected: &Injected,
) -> Result<bool, DemoError> {
    let since = injected.second.unwrap_or(injected.at);
    let end = since + if entry.label == Label::MustHeal { HEAL } else { HAND_OVER };
    let mut told = false;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = At::now();
        let attempts = observer.lock().history.on(service, injected.at, now);
        let verdict = Verdict::new(&attempts, since, now - ARRIVAL, None);
        if let (Some(impact), false) = (verdict.impact, told) {
            told = true;
            stage.live.at(impact, format!("impact    first failed attempt on {service}"));
        }
        if entry.kind.is_taken_back() {
            let taken_back = kinds::taken_back(world, service).await?;
            if taken_back || now > end {
                return Ok(taken_back);
            }
            continue;
        }
        let over = match (entry.label, verdict.impact) {
            (Label::MustHeal, Some(_)) => verdict.mitigated.is_some(),
            (Label::MustHeal, None) => !entry.kind.takes_time() && now > since + IMPACT,
            (Label::MustHandOver, _) => put_to_people(observer, since).is_some_and(|at| now > at + LATER),
        };
        if over || now > end {
            return Ok(verdict.healed);
        }
    }
}

/// When an incident was handed over, or an action put to a person.
fn put_to_people(observer: &Observer, since: At) -> Option<At> {
    let seen = observer.lock();
    let incidents = seen.incidents.deliveries.iter().filter(|d| d.at >= since && d.handed_over).map(|d| d.at);
    let waiting =
        seen.actions.iter().filter(|action| action.seen >= since && action.state == "AwaitingApproval");
    incidents.chain(waiting.map(|action| action.seen)).min()
}
