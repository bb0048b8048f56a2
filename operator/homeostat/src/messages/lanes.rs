//! What is sent when: a lane for each route, in which messages keep their order, with its limit per hour and its tries.
//! Pure; time comes in.

use super::address::{Answer, Trouble};
use super::told::{Message, held_back};
use homeostat_cluster::validate::Route;
use homeostat_knowledge::{Name, SignedDuration, TenantName, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages that wait, of all lanes together.
pub const MOST_WAITING: usize = 256;
/// Messages that wait in one lane: a receiver that is down leaves room for the others.
pub const MOST_IN_LANE: usize = 64;
/// Messages that a route is told in an hour.
pub const PER_HOUR: u32 = 60;
/// Tries under way at once, one per lane at most.
pub const UNDER_WAY: usize = 16;
/// Lanes that are remembered.
const MOST_LANES: usize = 1_024;
/// Keys of messages that are remembered, so that nothing is told twice.
const REMEMBERED: usize = 1_024;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// A message is tried for so long.
const WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// Waits between the five tries, in seconds.
const WAITS: [i64; 4] = [2, 10, 40, 120];
/// A receiver is left alone for so long at most.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// What becomes of a message at a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Sent,
    /// It was not taken in five tries within ten minutes.
    Failed,
    /// The route cannot be used.
    Unusable,
    /// The route had had its messages of the hour.
    HeldBack,
    /// There was no room for it.
    Dropped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Sent, Self::Failed, Self::Unusable, Self::HeldBack, Self::Dropped];

    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Unusable => "unusable",
            Self::HeldBack => "held_back",
            Self::Dropped => "dropped",
        }
    }
}

/// Messages since the start, by what became of them.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Outcome::ALL.len()]);

impl Tally {
    /// Counts one.
    pub fn add(&self, outcome: Outcome) {
        self.many(outcome, 1);
    }

    fn many(&self, outcome: Outcome, count: usize) {
        if let Some(slot) = self.0.get(outcome as usize) {
            slot.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Every outcome with its count.
    pub fn rows(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// A route of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneKey {
    /// Whose.
    pub tenant: TenantName,
    /// Name of the route.
    pub route: Name,
}

/// One try of one message.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The lane that it comes from.
    pub lane: LaneKey,
    /// Where to.
    pub route: Route,
    /// What.
    pub message: Arc<Message>,
}

/// How a route stands now that it stands otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It does not work.
    Trouble(Trouble),
    /// It works again.
    Works,
}

/// What came of the last message of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Last {
    /// None was sent or given up since this replica leads.
    #[default]
    Nothing,
    /// It was taken.
    Taken,
    /// It was not taken.
    Not(Trouble),
}

struct Hour {
    ends: Timestamp,
    told: u32,
    held: u64,
}

struct Lane {
    route: Route,
    waiting: VecDeque<(Arc<Message>, Timestamp)>,
    under_way: bool,
    tries: usize,
    due: Timestamp,
    hour: Option<Hour>,
    last: Last,
}

impl Lane {
    /// Nothing of it has to be remembered.
    fn idle(&self) -> bool {
        self.waiting.is_empty() && !self.under_way && self.hour.is_none()
    }

    fn ready(&self, now: Timestamp) -> bool {
        !self.under_way && !self.waiting.is_empty() && self.due <= now
    }
}

/// Every lane.
pub struct Lanes {
    all: BTreeMap<LaneKey, Lane>,
    told: VecDeque<String>,
    tally: Arc<Tally>,
    /// The lane that was served last; the one after it comes first, so that none waits for ever.
    last: Option<LaneKey>,
}

impl Lanes {
    /// No lanes yet.
    pub fn new(tally: Arc<Tally>) -> Self {
        Self { all: BTreeMap::new(), told: VecDeque::new(), tally, last: None }
    }

    /// Takes in a message for those of its tenant's routes that want it.
    pub fn accept(&mut self, message: &Arc<Message>, routes: &[Route], now: Timestamp) {
        if self.told.contains(&message.key) {
            return;
        }
        if self.told.len() >= REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back(message.key.clone());
        for route in routes {
            let knew = message.was.is_some_and(|was| route.severities.contains(&was));
            if route.severities.contains(&message.severity) && !knew {
                self.put(message, route, now);
            }
        }
    }

    fn put(&mut self, message: &Arc<Message>, route: &Route, now: Timestamp) {
        let key = LaneKey { tenant: message.tenant.clone(), route: route.name.clone() };
        if !self.all.contains_key(&key) && self.all.len() >= MOST_LANES {
            self.all.retain(|_, lane| !lane.idle());
            if self.all.len() >= MOST_LANES {
                return self.tally.add(Outcome::Dropped);
            }
        }
        self.roll(now);
        let lane = self.all.entry(key.clone()).or_insert_with(|| Lane {
            route: route.clone(),
            waiting: VecDeque::new(),
            under_way: false,
            tries: 0,
            due: now,
            hour: None,
            last: Last::Nothing,
        });
        if !same_way(&lane.route, route) {
            lane.last = Last::Nothing;
        }
        lane.route.clone_from(route);
        let hour = lane.hour.get_or_insert_with(|| Hour { ends: now + HOUR, told: 0, held: 0 });
        if hour.told < PER_HOUR {
            hour.told += 1;
            return self.push(&key, Arc::clone(message), now);
        }
        hour.held += 1;
        self.tally.add(Outcome::HeldBack);
        if hour.held == 1 {
            let notice = held_back(&key.tenant, &key.route, None, hour.ends, now);
            self.push(&key, Arc::new(notice), now);
        }
    }

    fn push(&mut self, key: &LaneKey, message: Arc<Message>, now: Timestamp) {
        let waiting: usize = self.all.values().map(|lane| lane.waiting.len()).sum();
        match self.all.get_mut(key) {
            Some(lane) if waiting < MOST_WAITING && lane.waiting.len() < MOST_IN_LANE => {
                lane.waiting.push_back((message, now));
            }
            _ => self.tally.add(Outcome::Dropped),
        }
    }

    /// Hours that are over; who was held back in one is told how many they were.
    fn roll(&mut self, now: Timestamp) {
        let over = |lane: &mut Lane| lane.hour.take_if(|hour| hour.ends <= now);
        let ended: Vec<(LaneKey, Hour)> =
            self.all.iter_mut().filter_map(|(key, lane)| Some((key.clone(), over(lane)?))).collect();
        for (key, hour) in ended.into_iter().filter(|(_, hour)| hour.held > 0) {
            let notice = held_back(&key.tenant, &key.route, Some(hour.held), hour.ends, now);
            self.push(&key, Arc::new(notice), now);
        }
    }

    /// What is to be tried now. Each errand must come back by [`Lanes::done`].
    pub fn take(&mut self, now: Timestamp) -> Vec<Errand> {
        self.roll(now);
        for lane in self.all.values_mut().filter(|lane| !lane.under_way) {
            let before = lane.waiting.len();
            lane.waiting.retain(|(_, since)| now.duration_since(*since) < WITHIN);
            if lane.waiting.len() < before {
                lane.tries = 0;
                self.tally.many(Outcome::Failed, before - lane.waiting.len());
            }
        }
        let busy = self.all.values().filter(|lane| lane.under_way).count();
        let mut ready: Vec<LaneKey> =
            self.all.iter().filter(|(_, lane)| lane.ready(now)).map(|(key, _)| key.clone()).collect();
        let first = ready.iter().position(|key| Some(key) > self.last.as_ref()).unwrap_or(0);
        ready.rotate_left(first);
        ready.truncate(UNDER_WAY.saturating_sub(busy));
        if let Some(last) = ready.last() {
            self.last = Some(last.clone());
        }
        let errand = |key: LaneKey| {
            let lane = self.all.get_mut(&key)?;
            lane.under_way = true;
            let (message, _) = lane.waiting.front()?;
            Some(Errand { route: lane.route.clone(), message: Arc::clone(message), lane: key })
        };
        ready.into_iter().filter_map(errand).collect()
    }

    /// What came of an errand; news when the route stands otherwise than before.
    pub fn done(&mut self, key: &LaneKey, answer: Answer, now: Timestamp) -> Option<News> {
        let lane = self.all.get_mut(key)?;
        lane.under_way = false;
        let since = lane.waiting.front().map_or(now, |(_, since)| *since);
        let (outcome, trouble) = match answer {
            Answer::Taken => (Outcome::Sent, None),
            Answer::Unusable(trouble) => (Outcome::Unusable, Some(trouble)),
            Answer::Later { trouble, wait } => {
                lane.tries += 1;
                if let Some(due) = next_try(lane.tries, since, wait, now) {
                    lane.due = due;
                    return None;
                }
                (Outcome::Failed, Some(trouble))
            }
        };
        lane.waiting.pop_front();
        (lane.tries, lane.due) = (0, now);
        self.tally.add(outcome);
        let before = std::mem::replace(&mut lane.last, trouble.map_or(Last::Taken, Last::Not));
        match (before, trouble) {
            (Last::Not(_), None) => Some(News::Works),
            // Status 500 and then 503 is the same trouble, and is shown as it began.
            (Last::Not(before), Some(after))
                if std::mem::discriminant(&before) == std::mem::discriminant(&after) =>
            {
                lane.last = Last::Not(before);
                None
            }
            (_, Some(trouble)) => Some(News::Trouble(trouble)),
            (_, None) => None,
        }
    }

    /// What came of the last message of a tenant's route, as it is now: one that leads elsewhere by now had none.
    pub fn last(&self, tenant: &TenantName, route: &Route) -> Last {
        let key = LaneKey { tenant: tenant.clone(), route: route.name.clone() };
        self.all.get(&key).filter(|lane| same_way(&lane.route, route)).map_or(Last::Nothing, |lane| lane.last)
    }

    /// Forgets what came of the last messages: another replica leads and knows better.
    pub fn forget_last(&mut self) {
        self.all.values_mut().for_each(|lane| lane.last = Last::Nothing);
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Timestamp> {
        let due = |lane: &Lane| {
            let tried = (!lane.under_way && !lane.waiting.is_empty()).then_some(lane.due);
            let hour = lane.hour.as_ref().filter(|hour| hour.held > 0).map(|hour| hour.ends);
            tried.into_iter().chain(hour).min()
        };
        self.all.values().filter_map(due).min()
    }

    /// Messages that wait.
    pub fn waiting(&self) -> usize {
        self.all.values().map(|lane| lane.waiting.len()).sum()
    }
}

/// Whether two routes lead to the same place in the same form.
fn same_way(one: &Route, other: &Route) -> bool {
    (one.kind, &one.secret, &one.key) == (other.kind, &other.secret, &other.key)
}

/// When a message that came in `since` is tried again after so many tries, if at all.
pub fn next_try(
    tries: usize,
    since: Timestamp,
    wait: Option<SignedDuration>,
    now: Timestamp,
) -> Option<Timestamp> {
    let own = SignedDuration::from_secs(*WAITS.get(tries.checked_sub(1)?)?);
    let due = now + own.max(wait.unwrap_or_default().min(LONGEST_WAIT));
    (due.duration_since(since) < WITHIN).then_some(due)
}
