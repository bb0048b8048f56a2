//! What is asked, drawn from a seed: effects and records as the product sends them, and what people and other parts of
//! Kubernetes do meanwhile.

use std::collections::BTreeSet;

use homeostat_execute::ports::{EffectError, LedgerStoreError, Refusal};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{ActionState, Name, Parameters, Timestamp};
use homeostat_sim::objects::CONTAINER;
use homeostat_sim::server::{Server, Stream};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::things::{OTHERS, PODS, Thing};

/// Bounds that an autoscaler is driven to, people's own among them.
const DRIVEN: [Bounds; 4] = [
    Bounds { min: 2, max: 8 },
    Bounds { min: 4, max: 8 },
    Bounds { min: 4, max: 12 },
    Bounds { min: 6, max: 6 },
];
/// Thousandths of a core that a pod is resized to; it is made with the first.
const SIZES: [u64; 3] = [100, 200, 300];
/// Two releases, and one that is not there.
const RELEASES: [&str; 3] = ["web-1", "web-2", "web-9"];
/// Moments that Jobs are made for, more than once each.
const SLOTS: [i64; 3] = [1_790_000_000, 1_790_000_060, 1_790_000_120];
/// States that an action is stored in. Those that end it would be told with a new time at each try.
const STATES: [ActionState; 5] = [
    ActionState::Proposed,
    ActionState::Admitted,
    ActionState::Claimed,
    ActionState::Sent,
    ActionState::Verifying,
];

/// Which version a request is conditioned on.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    Newest,
    /// So many writes ago.
    Older(usize),
    /// One that the object never had.
    Unknown,
}

/// From where a watch begins.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    /// A write so many writes ago.
    Write(usize),
    /// Before anything that is still known.
    Before,
}

/// What the kubelet says of a pod.
#[derive(Clone, Copy, Debug)]
pub enum Kubelet {
    Ready,
    NotReady,
    Succeeded,
    /// Its processes have ended: it goes.
    Gone,
}

/// An effect with the conditions that it is sent under.
#[derive(Clone, Debug)]
pub struct Effect {
    pub thing: Thing,
    pub parameters: Parameters,
    /// Which of two actions.
    pub action: u8,
    pub right_uid: bool,
    pub version: Which,
    pub dry_run: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub enum Ask {
    Effect(Effect),
    Read(Thing),
    Create(Thing),
    Delete(Thing),
    Kubelet(Thing, Kubelet),
    /// Somebody sets what effects set too.
    Set(Thing, u8),
    /// Somebody changes something else.
    Touch(Thing),
    /// Somebody sets or removes the disruption budget.
    Budget(Option<usize>),
    /// An action is stored for the first time.
    Register(u8, ActionState),
    /// Its next state is stored, with one of two messages.
    Store(u8, ActionState, u8, Which),
    Lookup(u8),
    List(Stream),
    Watch(Stream, Since),
}

impl Ask {
    /// The object that it is about.
    pub fn thing(&self) -> Option<Thing> {
        match self {
            Self::Effect(effect) => Some(effect.thing),
            Self::Read(thing)
            | Self::Create(thing)
            | Self::Delete(thing)
            | Self::Kubelet(thing, _)
            | Self::Set(thing, _)
            | Self::Touch(thing) => Some(*thing),
            _ => None,
        }
    }

    /// The number of the action in the ledger that it is about.
    pub fn action(&self) -> Option<u8> {
        match self {
            Self::Register(number, _) | Self::Store(number, ..) | Self::Lookup(number) => Some(*number),
            _ => None,
        }
    }
}

/// What was answered, as the product tells answers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// 404.
    NotFound,
    /// 409 of a creation.
    Exists,
    /// 409, and 422 of another UID.
    Conflict,
    /// 429 of a disruption budget.
    Budget,
    /// 422.
    Denied,
    /// Any refusal of a dry run but a budget's.
    WouldFail,
    /// 410.
    Gone,
    /// None within the time that a request may take.
    Nothing,
    Shows(Vec<String>),
    /// What neither side should say.
    Other(String),
}

impl Answer {
    pub fn of_effect<T>(answer: Result<T, EffectError>) -> Self {
        match answer {
            Ok(_) => Self::Taken,
            Err(EffectError::NotFound) => Self::NotFound,
            Err(EffectError::Conflict(_)) => Self::Conflict,
            Err(EffectError::BlockedByBudget(_)) => Self::Budget,
            Err(EffectError::Denied(_)) => Self::Denied,
            Err(EffectError::Unknown(_)) => Self::Nothing,
            Err(other) => Self::Other(other.to_string()),
        }
    }

    pub fn of_dry_run(answer: Result<(), Refusal>) -> Self {
        match answer {
            Ok(()) => Self::Taken,
            Err(Refusal::BlockedByBudget(_)) => Self::Budget,
            Err(Refusal::WouldFail(_)) => Self::WouldFail,
            Err(Refusal::Unavailable(_)) => Self::Nothing,
            Err(other) => Self::Other(other.to_string()),
        }
    }

    pub fn of_store<T>(answer: Result<T, LedgerStoreError>) -> Self {
        match answer {
            Ok(_) => Self::Taken,
            Err(LedgerStoreError::AlreadyExists) => Self::Exists,
            Err(LedgerStoreError::Conflict) => Self::Conflict,
            Err(LedgerStoreError::NotFound) => Self::NotFound,
            Err(other) => Self::Other(other.to_string()),
        }
    }

    /// Its kind in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Taken => "Taken",
            Self::NotFound => "NotFound",
            Self::Exists => "Exists",
            Self::Conflict => "Conflict",
            Self::Budget => "Budget",
            Self::Denied => "Denied",
            Self::WouldFail => "WouldFail",
            Self::Gone => "Gone",
            Self::Nothing => "Nothing",
            Self::Shows(_) => "Shows",
            Self::Other(_) => "Other",
        }
    }
}

/// Draws requests.
pub struct Drawer {
    random: ChaCha8Rng,
    /// Ends of what is held.
    until: [Timestamp; 2],
    /// Pods that somebody deleted.
    by_hand: BTreeSet<Thing>,
    /// An eviction that nothing guards was sent for another UID.
    waited: bool,
}

impl Drawer {
    pub fn new(seed: u64, until: [Timestamp; 2]) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), until, by_hand: BTreeSet::new(), waited: false }
    }

    /// The next request, fit for what is there.
    pub fn draw(&mut self, server: &Server) -> Ask {
        match self.random.random_range(0..100) {
            0..17 => self.eviction(server),
            17..49 => self.effect(server),
            49..61 => self.ledger(),
            61..64 => Ask::Read(self.thing()),
            64..81 => self.pod(server),
            81..92 => self.other(server),
            92..94 => Ask::Budget([None, Some(0), Some(1), Some(2), Some(3)][self.below(5)]),
            94..96 => Ask::List(self.stream()),
            _ => match self.below(4) {
                // The pods' watch may know everything since the API server began.
                0 => Ask::Watch(Stream::Actions, Since::Before),
                _ => Ask::Watch(self.stream(), Since::Write(self.below(20))),
            },
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// In so many of ten cases.
    fn often(&mut self, of_ten: usize) -> bool {
        self.below(10) < of_ten
    }

    fn stream(&mut self) -> Stream {
        if self.often(5) { Stream::Pods } else { Stream::Actions }
    }

    fn thing(&mut self) -> Thing {
        match self.below(PODS.len() + OTHERS.len()) {
            index if index < PODS.len() => PODS[index],
            index => OTHERS[index - PODS.len()],
        }
    }

    fn which(&mut self) -> Which {
        match self.below(10) {
            0..7 => Which::Newest,
            7..9 => Which::Older(1 + self.below(3)),
            _ => Which::Unknown,
        }
    }

    fn sent(&mut self, thing: Thing, parameters: Parameters) -> Effect {
        Effect {
            thing,
            parameters,
            action: self.random.random_range(0..2),
            right_uid: self.often(8),
            version: self.which(),
            dry_run: self.often(2),
        }
    }

    fn eviction(&mut self, server: &Server) -> Ask {
        let thing = PODS[self.below(PODS.len())];
        let effect = self.sent(thing, Parameters::EvictPod { grace_seconds: None });
        let pod = server.pods.get(&thing.key()).map(|pod| &pod.record);
        if pod.is_some_and(|pod| pod.deleting) && self.by_hand.contains(&thing) {
            // It would get a condition that says that it was evicted, and the model has none.
            return Ask::Read(thing);
        }
        let unguarded = pod.is_some_and(|pod| pod.deleting || pod.phase != PodPhase::Running);
        let right_uid = effect.right_uid || (unguarded && self.waited);
        // It takes as long as a request may: once is enough.
        self.waited |= unguarded && !right_uid;
        Ask::Effect(Effect { right_uid, ..effect })
    }

    fn effect(&mut self, server: &Server) -> Ask {
        let until = if self.often(5) { self.until[0] } else { self.until[1] };
        // Not below what the budget wants, which the product would ask first.
        let mut replicas = self.random.random_range(3..7);
        // Nor the size that is there, which no action sends: the API server then forgets who set it.
        let there =
            server.controllers.get(&Thing::Deployment.controller()).map(|found| found.record.replicas);
        if there == Some(replicas) {
            replicas += 1;
        }
        let (thing, parameters) = match self.below(13) {
            0 => (Thing::Deployment, Parameters::RollingRestart),
            1 => (Thing::Deployment, Parameters::ScaleUp { replicas }),
            2 => (Thing::Deployment, Parameters::ScaleDown { replicas }),
            3 => {
                let revision = Name::from(RELEASES[self.below(RELEASES.len())]);
                (Thing::Deployment, Parameters::RollBack { revision })
            }
            4 => (Thing::CronJob, Parameters::Suspend { until }),
            5 => (Thing::CronJob, Parameters::Resume),
            6 => (Thing::Node, Parameters::Cordon { until }),
            7 => (Thing::Node, Parameters::Uncordon),
            8 => (Thing::FailedRun, Parameters::RetryJob),
            9 => {
                let parallelism = Some(2);
                let start = Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism };
                (Thing::WaitingRun, start)
            }
            10 => {
                let slot = Timestamp::from_second(SLOTS[self.below(SLOTS.len())]).unwrap();
                (Thing::CronJob, Parameters::CreateJob { slot })
            }
            11 => {
                let bounds = DRIVEN[self.below(DRIVEN.len())];
                (Thing::Autoscaler, Parameters::DriveBounds { bounds, until })
            }
            _ => {
                let thing = PODS[self.below(PODS.len())];
                let over = server.pods.get(&thing.key()).is_some_and(|pod| {
                    pod.record.deleting || !matches!(pod.record.phase, PodPhase::Pending | PodPhase::Running)
                });
                if over {
                    return Ask::Read(thing);
                }
                let resize = Parameters::ResizePod {
                    container: Name::from(CONTAINER),
                    cpu_millis: Some(SIZES[self.below(SIZES.len())]),
                    cpu_limit_millis: None,
                    memory_bytes: None,
                    memory_limit_bytes: None,
                };
                (thing, resize)
            }
        };
        Ask::Effect(self.sent(thing, parameters))
    }

    /// Of four actions the last is never stored.
    fn ledger(&mut self) -> Ask {
        let state = STATES[self.below(STATES.len())];
        match self.below(10) {
            0..3 => Ask::Register(self.random.random_range(0..3), state),
            3..8 => {
                let (number, message) = (self.random.random_range(0..4), self.random.random_range(0..2));
                Ask::Store(number, state, message, self.which())
            }
            _ => Ask::Lookup(self.random.random_range(0..4)),
        }
    }

    /// The way of a pod: made, started, stopped, gone, made again.
    fn pod(&mut self, server: &Server) -> Ask {
        let thing = PODS[self.below(PODS.len())];
        let Some(pod) = server.pods.get(&thing.key()).map(|pod| &pod.record) else {
            self.by_hand.remove(&thing);
            return Ask::Create(thing);
        };
        let ask = match self.below(12) {
            0..9 if pod.deleting => Ask::Kubelet(thing, Kubelet::Gone),
            _ if pod.deleting => Ask::Delete(thing),
            0..6 if matches!(pod.phase, PodPhase::Succeeded) => Ask::Delete(thing),
            _ if matches!(pod.phase, PodPhase::Succeeded) => Ask::Touch(thing),
            0..9 if thing == Thing::Homeless => Ask::Touch(thing),
            _ if thing == Thing::Homeless => Ask::Delete(thing),
            6 | 7 if pod.phase == PodPhase::Running => Ask::Kubelet(thing, Kubelet::NotReady),
            8 if pod.phase == PodPhase::Running => Ask::Kubelet(thing, Kubelet::Succeeded),
            0..9 => Ask::Kubelet(thing, Kubelet::Ready),
            9..11 => Ask::Touch(thing),
            _ => Ask::Delete(thing),
        };
        if matches!(ask, Ask::Delete(_)) {
            self.by_hand.insert(thing);
        }
        ask
    }

    fn other(&mut self, server: &Server) -> Ask {
        let thing = OTHERS[self.below(OTHERS.len())];
        if server.read(&thing.named(), false).is_none() {
            return if self.often(7) { Ask::Create(thing) } else { Ask::Delete(thing) };
        }
        match self.below(10) {
            0..2 => Ask::Delete(thing),
            2..4 => Ask::Touch(thing),
            _ => Ask::Set(thing, self.random.random_range(0..12)),
        }
    }
}
