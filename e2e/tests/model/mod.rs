//! The simulator's API server beside a real one: the same drawn requests to both. What is answered must be the same, and
//! so must what is stored then, whether it was written, and what lists and watches show of it.

mod asks;
mod modelled;
mod real;
mod things;

use std::collections::{BTreeMap, BTreeSet};

use homeostat_e2e::cluster::{Cluster, Options};
use homeostat_knowledge::{ActionId, ActionKind, ActionState, Name, Timestamp, Uid};
use homeostat_sim::server::Stream;
use homeostat_sim::situations::{self, EffectRequest};

use asks::{Answer, Ask, Drawer, Effect, Kubelet, Since, Which};
use modelled::Modelled;
use real::Real;
use things::{OTHERS, PODS, Thing};

/// Requests that are drawn.
const REQUESTS: usize = 700;
/// The seed, unless the variable SEED says another.
const SEED: u64 = 4_711;
/// What is stored with a state.
const MESSAGES: [&str; 2] = ["the first message", "the second message"];
/// What some request must be answered with, or the run has shown too little.
const ANSWERS: [&str; 8] =
    ["Taken", "NotFound", "Exists", "Conflict", "Budget", "WouldFail", "Gone", "Shows"];
/// An hour, two hours.
const HELD: [i64; 2] = [3_600, 7_200];

/// Both sides, and what each calls the same thing.
struct Both {
    modelled: Modelled,
    real: Real,
    drawer: Drawer,
    seed: u64,
    /// UIDs of the model and of the API server.
    uids: BTreeMap<Thing, (Uid, Uid)>,
    /// Generations that the objects were first seen with.
    generations: BTreeMap<Thing, (i64, i64)>,
    /// Versions of each object, oldest first.
    versions: BTreeMap<String, Vec<(Name, Name)>>,
    /// Versions of everything that a watch shows, oldest first.
    written: BTreeMap<Stream, Vec<(Name, Name)>>,
    minimum: Option<usize>,
    history: Vec<String>,
    answers: BTreeSet<&'static str>,
    /// Actions that had their effect.
    taken: BTreeSet<ActionKind>,
}

pub async fn answers_generated_requests_as_a_real_one(name: &str) {
    Cluster::remove(name).unwrap();
    let program = Some(env!("CARGO_BIN_EXE_e2e").into());
    let options = Options { control_plane_only: true, program, ..Options::default() };
    let cluster = Cluster::up(name, &options).await.unwrap();
    let kept = cluster.keep_on_panic();
    let seed = std::env::var("SEED").map_or(SEED, |text| text.parse().unwrap());
    println!("SEED={seed}");
    let mut both = Box::pin(Both::up(&cluster, seed)).await;
    for _ in 0..REQUESTS {
        both.ask().await;
    }
    both.shown_enough();
    drop(kept);
    cluster.down().unwrap();
}

impl Both {
    /// Everything is there, and the pods run.
    async fn up(cluster: &Cluster, seed: u64) -> Self {
        let now = Timestamp::now().as_second();
        let until = HELD.map(|seconds| Timestamp::from_second(now + seconds).unwrap());
        let mut both = Self {
            modelled: Modelled::new(),
            real: Box::pin(Real::up(cluster)).await,
            drawer: Drawer::new(seed, until),
            seed,
            uids: BTreeMap::new(),
            generations: BTreeMap::new(),
            versions: BTreeMap::new(),
            written: BTreeMap::new(),
            minimum: None,
            history: Vec::new(),
            answers: BTreeSet::new(),
            taken: BTreeSet::new(),
        };
        let things = PODS.into_iter().chain(OTHERS);
        let begin = things.map(Ask::Create).chain([Ask::Budget(Some(1))]);
        let started = PODS.into_iter().filter(|thing| *thing != Thing::Homeless);
        for ask in begin.chain(started.map(|thing| Ask::Kubelet(thing, Kubelet::Ready))) {
            both.put(&ask).await;
        }
        both
    }

    async fn ask(&mut self) {
        let ask = self.drawer.draw(&self.modelled.server);
        self.put(&ask).await;
    }

    /// Puts one request to both and compares all that came of it.
    async fn put(&mut self, ask: &Ask) {
        // Boxed: futures of requests are large.
        let (model, (real, said)) = Box::pin(self.send(ask)).await;
        self.history.push(format!("{:>4} {ask:?} → {}", self.history.len() + 1, model.word()));
        if model != real {
            self.differ(&format!("answer: model {model:?}, API server {real:?} {said}"));
        }
        self.answers.insert(model.word());
        self.taken.extend(match ask {
            Ask::Effect(effect) if !effect.dry_run && model == Answer::Taken => {
                Some(effect.parameters.kind())
            }
            _ => None,
        });
        let compared = match (ask.thing(), ask.action()) {
            (Some(thing), _) => Box::pin(self.look(thing)).await,
            (None, Some(number)) => Box::pin(self.look_up(number)).await,
            (None, None) => Ok(()),
        };
        if let Err(difference) = compared {
            self.differ(&difference);
        }
    }

    fn differ(&self, difference: &str) -> ! {
        panic!(
            "the simulator's API server is not as the real one; again: SEED={}\n{}\n{difference}",
            self.seed,
            self.history.join("\n")
        );
    }

    /// The answers of both, and what the API server said with a refusal.
    async fn send(&mut self, ask: &Ask) -> (Answer, (Answer, String)) {
        let now = Timestamp::now();
        match ask {
            Ask::Effect(effect) => return Box::pin(self.effect(effect, now)).await,
            Ask::Read(_) | Ask::Lookup(_) => {
                let nothing = Answer::Shows(Vec::new());
                return (nothing.clone(), (nothing, String::new()));
            }
            Ask::Create(thing) => {
                self.modelled.create(*thing, now);
                self.real.create(*thing).await;
            }
            Ask::Delete(thing) => {
                let model = self.modelled.delete(*thing, now);
                return (model, (self.real.delete(*thing).await, String::new()));
            }
            Ask::Kubelet(thing, step) => {
                self.modelled.kubelet(*thing, *step);
                self.real.kubelet(*thing, *step).await;
            }
            Ask::Set(thing, number) => {
                self.modelled.set(*thing, *number);
                self.real.set(*thing, *number).await;
            }
            Ask::Touch(thing) => {
                self.modelled.touch(*thing);
                self.real.touch(*thing).await;
            }
            Ask::Budget(minimum) => {
                self.modelled.budget(*minimum);
                self.real.budget(*minimum).await;
                self.minimum = *minimum;
            }
            Ask::Register(number, state) => {
                let record = things::record(*number, *state, MESSAGES[0], Name::from(""));
                let model = self.modelled.register(&record);
                return (model, self.real.register(&record).await);
            }
            Ask::Store(number, state, message, which) => {
                let (model, real) = self.version(&of_action(*number), *which);
                let message = MESSAGES[usize::from(*message)];
                let model = self.modelled.store(&things::record(*number, *state, message, model));
                let real = self.real.store(&things::record(*number, *state, message, real)).await;
                return (model, real);
            }
            Ask::List(stream) => {
                let model = self.modelled.list(*stream);
                return (model, (self.real.list(*stream).await, String::new()));
            }
            Ask::Watch(stream, since) => {
                let (model, real) = self.since(*stream, *since);
                let model = self.modelled.watch(*stream, model);
                return (model, (self.real.watch(*stream, &real).await, String::new()));
            }
        }
        (Answer::Taken, (Answer::Taken, String::new()))
    }

    async fn effect(&mut self, effect: &Effect, now: Timestamp) -> (Answer, (Answer, String)) {
        let Effect { thing, parameters, action, right_uid, version, dry_run } = effect;
        let known = self.uids.get(thing).filter(|_| *right_uid).cloned();
        let unknown = || (Uid::new("another"), Uid::new("00000000-0000-4000-8000-000000000000"));
        let (model_uid, real_uid) = known.unwrap_or_else(unknown);
        let (model_version, real_version) = self.version(&format!("{thing:?}"), *version);
        let action = ActionId::new(format!("web-7f3k2-{action}"));
        let request = EffectRequest {
            target: thing.target(model_uid.clone(), model_version.clone()),
            parameters: parameters.clone(),
            action: action.clone(),
            uid: Some(model_uid),
            version: (!dry_run).then_some(model_version),
        };
        if parameters.kind() == ActionKind::EvictPod {
            self.real.settled(self.minimum).await;
        }
        let model = self.modelled.effect(&request, *dry_run, now);
        let target = thing.target(real_uid, real_version);
        (model, self.real.effect(&target, parameters, &action, *dry_run).await)
    }

    /// A version of an object as each side calls it.
    fn version(&self, subject: &str, which: Which) -> (Name, Name) {
        let known = self.versions.get(subject).map_or(&[][..], Vec::as_slice);
        let chosen = match which {
            Which::Newest => known.last(),
            Which::Older(writes) => known.iter().rev().nth(writes),
            Which::Unknown => None,
        };
        chosen.cloned().unwrap_or_else(|| (Name::from("0"), Name::from("1")))
    }

    /// The same of a stream.
    fn since(&self, stream: Stream, since: Since) -> (u64, String) {
        let written = self.written.get(&stream).map_or(&[][..], Vec::as_slice);
        let chosen = match since {
            Since::Write(writes) => written.iter().rev().nth(writes).or(written.first()),
            Since::Before => None,
        };
        chosen.map_or((0, "1".to_owned()), |(model, real)| (model.parse().unwrap(), real.to_string()))
    }

    /// Reads an object on both sides.
    async fn look(&mut self, thing: Thing) -> Result<(), String> {
        let (model, real) = (self.modelled.fresh(thing), self.real.fresh(thing).await);
        let (model, real) = match (model, real) {
            (Some(model), Some(real)) => (model, real),
            (None, None) => return Ok(()),
            (model, _) => {
                let side = if model.is_some() { "the model" } else { "the API server" };
                return Err(format!("{thing:?} is in {side} only"));
            }
        };
        let facts = [things::facts(thing, &model), things::facts(thing, &real)];
        if facts[0] != facts[1] {
            return Err(format!("{thing:?}:\nmodel      {:?}\nAPI server {:?}", facts[0], facts[1]));
        }
        let generations = (things::generation(thing, &model), things::generation(thing, &real));
        let uids = (model.uid, real.uid);
        match self.uids.insert(thing, uids.clone()) {
            Some(known) if known == uids => {}
            Some(known) if known.0 == uids.0 || known.1 == uids.1 => {
                return Err(format!("{thing:?} is another object on one side only: {known:?}, {uids:?}"));
            }
            _ => {
                self.generations.insert(thing, generations);
            }
        }
        let first = self.generations.get(&thing).copied().unwrap_or(generations);
        let changes = (generations.0 - first.0, generations.1 - first.1);
        if changes.0 != changes.1 {
            return Err(format!("{thing:?}: changes of what is wanted: {changes:?}"));
        }
        let stream = PODS.contains(&thing).then_some(Stream::Pods);
        self.wrote(&format!("{thing:?}"), stream, (model.resource_version, real.resource_version))
    }

    /// Reads an action on both sides.
    async fn look_up(&mut self, number: u8) -> Result<(), String> {
        let named = things::record(number, ActionState::Proposed, "", Name::from(""));
        let model = self.modelled.server.actions.get(&named.key()).cloned();
        let real = self.real.lookup(&named).await;
        let (mut model, mut real) = match (model, real) {
            (Some(model), Some(real)) => (model, real),
            (None, None) => return Ok(()),
            (model, real) => return Err(format!("model      {model:?}\nAPI server {real:?}")),
        };
        let versions = (model.resource_version.clone(), real.resource_version.clone());
        model.resource_version = Name::from("");
        real.resource_version = Name::from("");
        if model != real {
            return Err(format!("model      {model:?}\nAPI server {real:?}"));
        }
        self.wrote(&of_action(number), Some(Stream::Actions), versions)
    }

    /// Both have written, or neither.
    fn wrote(&mut self, subject: &str, stream: Option<Stream>, versions: (Name, Name)) -> Result<(), String> {
        let known = self.versions.entry(subject.to_owned()).or_default();
        if let Some((model, real)) = known.last() {
            match (*model != versions.0, *real != versions.1) {
                (false, false) => return Ok(()),
                (true, true) => {}
                (model, _) => {
                    let side = if model { "the model" } else { "the API server" };
                    return Err(format!("{subject} has a new version in {side} only: {versions:?}"));
                }
            }
        }
        known.push(versions.clone());
        if let Some(stream) = stream {
            self.written.entry(stream).or_default().push(versions);
        }
        Ok(())
    }

    /// Every kind of answer was met, and every action had its effect at least once.
    fn shown_enough(&self) {
        let missing: Vec<&str> =
            ANSWERS.into_iter().filter(|answer| !self.answers.contains(answer)).collect();
        assert!(missing.is_empty(), "never answered: {missing:?}; another SEED may show it");
        let idle: Vec<ActionKind> = situations::ALL
            .iter()
            .map(|situation| situation.kind())
            .filter(|kind| !self.taken.contains(kind))
            .collect();
        assert!(idle.is_empty(), "never taken: {idle:?}; another SEED may show it, or it is not drawn");
    }
}

fn of_action(number: u8) -> String {
    format!("action {number}")
}
