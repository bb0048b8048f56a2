//! The world in virtual time: slots fire, pods start, runs end. A policy sees what it would see in production and orders
//! pods; what does not fit is pending until it does, oldest first, as the scheduler of Kubernetes would have it.

use crate::draws::{Drawn, Tenant};
use crate::policies::{Info, Order, Policy, Seen};
use crate::shapes::Catalogue;
use homeostat_scale::jobs::{Outcome, Size, Usage};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// A pod: for one run, or of a policy's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    Run(u32),
    Pool(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    End { run: u32, tag: Tag },
    Slot { kind: usize, zone: usize, index: usize },
    PodReady(Tag),
    Tick,
}

struct Pod {
    size: Size,
    placed: Option<i64>,
    runs: u32,
    leaving: bool,
}

#[derive(Clone, Copy)]
struct Live {
    info: Info,
    drawn: Drawn,
    attempt: u32,
    possible: i64,
    started: Option<i64>,
    running_ms: i64,
    limit: u64,
    killed: bool,
    open: bool,
    needs_open: bool,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Result {
    pub runs: u64,
    pub missed: u64,
    pub worst_late_ms: i64,
    /// Missed per kind.
    pub missed_of_kind: Vec<u64>,
    /// From possible to running, first tries, in seconds; one in `EVERY` in large worlds.
    pub delays: Vec<f32>,
    pub used_ms: f64,
    pub reserved_ms: f64,
    pub capacity_ms: f64,
    pub memory_kills: u64,
    pub slowest_decision_seconds: f64,
    /// Of every order and its moment: equal when all decisions were.
    pub digest: u64,
    pub stopped_early: bool,
    /// The first thousand.
    pub misses: Vec<Miss>,
}

/// A run that was late.
#[derive(Clone, Copy, Debug)]
pub struct Miss {
    pub info: Info,
    pub late_ms: i64,
    pub lasts_ms: i64,
    pub failed: bool,
    /// From its slot on.
    pub possible_ms: i64,
    pub started_ms: Option<i64>,
}

/// What to simulate.
#[derive(Clone, Copy)]
pub struct Setting {
    pub seed: u64,
    pub tenants: u32,
    pub days: u32,
    /// Stop at the first missed deadline.
    pub until_missed: bool,
}

pub struct World<'a> {
    catalogue: &'a Catalogue,
    setting: Setting,
    now: i64,
    end: i64,
    queue: BinaryHeap<Reverse<(i64, Happening)>>,
    tenants: Vec<Tenant>,
    lives: Vec<Live>,
    free_lives: Vec<u32>,
    /// Newest run of a tenant's kind: `tenant * kinds + kind`.
    newest: Vec<Option<u32>>,
    pods: BTreeMap<Tag, Pod>,
    pending: BTreeMap<Size, VecDeque<(u64, Tag)>>,
    pending_count: u64,
    free: Size,
    open: u64,
    out: Result,
}

const EVERY: usize = 16;

impl<'a> World<'a> {
    pub fn new(catalogue: &'a Catalogue, setting: Setting, capacity: Size, always_on_inside: bool) -> Self {
        let begins = catalogue.begins_ms;
        let mut queue = BinaryHeap::new();
        for (kind, shape) in catalogue.kinds.iter().enumerate() {
            for (zone, slots) in shape.slots.iter().enumerate() {
                if let Some((at, _)) = slots.first() {
                    queue.push(Reverse((*at, Happening::Slot { kind, zone, index: 0 })));
                }
            }
        }
        let tenants: Vec<Tenant> =
            (0..setting.tenants).map(|tenant| Tenant::new(catalogue, setting.seed, tenant)).collect();
        let kinds = catalogue.kinds.len();
        let length = i64::from(setting.days) * 86_400_000;
        let always = catalogue.always_on.vcpu() * f64::from(setting.tenants) * length as f64;
        let out = Result {
            used_ms: always,
            reserved_ms: if always_on_inside { 0.0 } else { always },
            capacity_ms: capacity.vcpu() * length as f64,
            missed_of_kind: vec![0; kinds],
            digest: 0xcbf2_9ce4_8422_2325,
            ..Result::default()
        };
        Self {
            catalogue,
            setting,
            now: begins,
            end: begins + length,
            queue,
            tenants,
            lives: Vec::new(),
            free_lives: Vec::new(),
            newest: vec![None; setting.tenants as usize * kinds],
            pods: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_count: 0,
            free: if always_on_inside { capacity } else { left(catalogue, capacity, setting.tenants) },
            open: 0,
            out,
        }
    }

    /// Runs to the end; `clock` measures decisions.
    pub fn run(mut self, policy: &mut dyn Policy, clock: Option<&dyn Fn() -> f64>) -> Result {
        let mut seen: Vec<Seen> = Vec::new();
        let mut orders: Vec<Order> = Vec::new();
        let period = policy.period_ms();
        if period.is_some() {
            self.queue.push(Reverse((self.now, Happening::Tick)));
        }
        policy.begin(self.now, &mut orders);
        self.obey(&mut orders);
        while let Some(Reverse((at, _))) = self.queue.peek() {
            self.now = *at;
            // Whoever needs longer than a day after the end is late enough.
            if self.now > self.end + 86_400_000 {
                break;
            }
            seen.clear();
            while let Some(Reverse((at, happening))) = self.queue.peek().copied() {
                if at > self.now {
                    break;
                }
                self.queue.pop();
                self.happen(happening, &mut seen);
                if happening == Happening::Tick && (self.now < self.end || self.open > 0) {
                    let next = self.now + period.unwrap_or(60_000);
                    self.queue.push(Reverse((next, Happening::Tick)));
                }
            }
            if self.setting.until_missed && self.out.missed > 0 {
                self.out.stopped_early = true;
                return self.out;
            }
            let before = clock.map(|clock| clock());
            policy.decide(self.now, &seen, &mut orders);
            if let (Some(clock), Some(before)) = (clock, before) {
                self.out.slowest_decision_seconds = self.out.slowest_decision_seconds.max(clock() - before);
            }
            for order in &orders {
                let words = order.words().into_iter().chain([self.now as u64]);
                self.out.digest = words.fold(self.out.digest, fnv);
            }
            self.obey(&mut orders);
        }
        let still: Vec<Live> = self.lives.iter().filter(|live| live.open).copied().collect();
        for live in still {
            self.miss(&live, self.now - live.info.due_ms);
        }
        let tags: Vec<Tag> = self.pods.keys().copied().collect();
        self.now = self.end.max(self.now);
        for tag in tags {
            self.remove(tag);
        }
        self.out
    }

    fn miss(&mut self, live: &Live, late_ms: i64) {
        self.out.missed += 1;
        self.out.missed_of_kind[live.info.kind] += 1;
        if self.out.misses.len() < 1_000 {
            self.out.misses.push(Miss {
                info: live.info,
                late_ms,
                lasts_ms: live.drawn.lasts_ms,
                failed: live.drawn.fails,
                possible_ms: live.possible - live.info.slot_ms,
                started_ms: live.started.map(|started| started - live.info.slot_ms),
            });
        }
        self.out.worst_late_ms = self.out.worst_late_ms.max(late_ms);
    }

    fn happen(&mut self, happening: Happening, seen: &mut Vec<Seen>) {
        match happening {
            Happening::Slot { kind, zone, index } => self.slot(kind, zone, index, seen),
            Happening::PodReady(tag) => {
                if self.pods.contains_key(&tag) {
                    match tag {
                        Tag::Run(run) => self.begin(run, tag, 1.0),
                        Tag::Pool(pool) => seen.push(Seen::PodReady(pool)),
                    }
                }
            }
            Happening::End { run, tag } => self.ended(run, tag, seen),
            Happening::Tick => seen.push(Seen::Tick),
        }
    }

    fn slot(&mut self, kind: usize, zone: usize, index: usize, seen: &mut Vec<Seen>) {
        let shape = &self.catalogue.kinds[kind];
        let slots = &shape.slots[zone];
        let (slot_ms, weekend) = slots[index];
        if let Some((at, _)) = slots.get(index + 1) {
            self.queue.push(Reverse((*at, Happening::Slot { kind, zone, index: index + 1 })));
        }
        let kinds = self.catalogue.kinds.len();
        for tenant in (zone..self.setting.tenants as usize).step_by(self.catalogue.shapes.zones.len()) {
            let drawn = self.tenants[tenant].draw(self.catalogue, kind, slot_ms, weekend);
            let needs_open = shape.needs.is_some_and(|needs| {
                self.newest[tenant * kinds + needs].is_some_and(|run| self.lives[run as usize].open)
            });
            let run = self.free_lives.pop().unwrap_or(self.lives.len() as u32);
            let info = Info { run, tenant: tenant as u32, kind, slot_ms, due_ms: slot_ms + shape.due_ms };
            let live = Live {
                info,
                drawn,
                attempt: 1,
                possible: slot_ms,
                started: None,
                running_ms: 0,
                limit: 0,
                killed: false,
                open: true,
                needs_open,
            };
            match self.lives.get_mut(run as usize) {
                Some(place) => *place = live,
                None => self.lives.push(live),
            }
            self.newest[tenant * kinds + kind] = Some(run);
            self.open += 1;
            self.out.runs += 1;
            seen.push(Seen::Due(info));
            if !needs_open {
                seen.push(Seen::Ready(info));
            }
        }
    }

    fn begin(&mut self, run: u32, tag: Tag, slower: f64) {
        let live = &mut self.lives[run as usize];
        let fails = live.drawn.fails && live.attempt == 1;
        live.killed = live.limit < live.drawn.mebibytes;
        let share = if fails || live.killed { 0.5 } else { 1.0 };
        live.running_ms = ((live.drawn.lasts_ms as f64 * share * slower) as i64).max(1);
        if live.started.is_none() {
            live.started = Some(self.now);
            if self.setting.tenants <= 1_000 || (run as usize).is_multiple_of(EVERY) {
                self.out.delays.push((self.now - live.possible) as f32 / 1_000.0);
            }
        }
        let until = self.now + live.running_ms;
        let inside = (until.min(self.end) - self.now.min(self.end)).max(0) as f64;
        // What a slower machine takes longer is not use.
        self.out.used_ms += self.catalogue.kinds[live.info.kind].size.vcpu() * inside / slower;
        self.queue.push(Reverse((until, Happening::End { run, tag })));
    }

    fn ended(&mut self, run: u32, tag: Tag, seen: &mut Vec<Seen>) {
        let live = self.lives[run as usize];
        let fails = live.drawn.fails && live.attempt == 1;
        let outcome = if live.killed {
            self.out.memory_kills += 1;
            Outcome::OutOfMemory
        } else if fails {
            Outcome::Failed
        } else {
            Outcome::Succeeded
        };
        let millicores = self.catalogue.kinds[live.info.kind].size.millicores;
        // It uses what its job can use, and nothing throttles it.
        let mebibytes = Some(live.drawn.mebibytes.min(live.limit));
        let usage = Usage { millicores: Some(millicores), cpu_limit: None, mebibytes };
        seen.push(Seen::Ended { info: live.info, outcome, ran_ms: live.running_ms, usage, tag });
        match tag {
            Tag::Run(_) => self.remove(tag),
            Tag::Pool(_) => {
                if let Some(pod) = self.pods.get_mut(&tag) {
                    pod.runs -= 1;
                    if pod.leaving && pod.runs == 0 {
                        self.remove(tag);
                    }
                }
            }
        }
        if outcome != Outcome::Succeeded {
            // A kill for memory is no try: the program's own chance to fail is still to come.
            if outcome == Outcome::Failed {
                self.lives[run as usize].attempt += 1;
            }
            seen.push(Seen::Ready(live.info));
            return;
        }
        self.lives[run as usize].open = false;
        self.open -= 1;
        let late = self.now - live.info.due_ms;
        if late > 0 {
            self.miss(&live, late);
        }
        self.release(live.info, seen);
        self.free_lives.push(run);
        let kinds = self.catalogue.kinds.len();
        let place = &mut self.newest[live.info.tenant as usize * kinds + live.info.kind];
        if *place == Some(run) {
            *place = None;
        }
    }

    /// Lets runs go on that waited for this one.
    fn release(&mut self, info: Info, seen: &mut Vec<Seen>) {
        let kinds = self.catalogue.kinds.len();
        for (kind, shape) in self.catalogue.kinds.iter().enumerate() {
            if shape.needs != Some(info.kind) {
                continue;
            }
            let Some(run) = self.newest[info.tenant as usize * kinds + kind] else { continue };
            let now = self.now;
            let live = &mut self.lives[run as usize];
            if live.open && live.needs_open && live.info.slot_ms == info.slot_ms {
                live.needs_open = false;
                live.possible = now;
                seen.push(Seen::Ready(live.info));
            }
        }
    }

    fn obey(&mut self, orders: &mut Vec<Order>) {
        for order in orders.drain(..) {
            match order {
                Order::Run { run, size } => {
                    self.lives[run as usize].limit = size.mebibytes;
                    self.ask(Tag::Run(run), size);
                }
                Order::Pool { pool, size } => self.ask(Tag::Pool(pool), size),
                Order::Assign { pool, run, slower } => {
                    let tag = Tag::Pool(pool);
                    if let Some(pod) = self.pods.get_mut(&tag) {
                        pod.runs += 1;
                        self.lives[run as usize].limit = pod.size.mebibytes;
                        self.begin(run, tag, slower);
                    }
                }
                Order::Remove { pool } => {
                    let tag = Tag::Pool(pool);
                    if let Some(pod) = self.pods.get_mut(&tag) {
                        pod.leaving = true;
                        if pod.runs == 0 {
                            self.remove(tag);
                        }
                    }
                }
            }
        }
        self.place();
    }

    fn ask(&mut self, tag: Tag, size: Size) {
        self.pods.insert(tag, Pod { size, placed: None, runs: 0, leaving: false });
        self.pending_count += 1;
        self.pending.entry(size).or_default().push_back((self.pending_count, tag));
    }

    /// Places pending pods that fit, oldest first.
    fn place(&mut self) {
        let start = (self.catalogue.shapes.pod_start_seconds * 1_000.0) as i64;
        loop {
            let free = self.free;
            let heads = self.pending.iter().filter(|(size, _)| size.fits(free));
            let Some((size, _)) =
                heads.filter_map(|(size, queue)| Some((*size, queue.front()?.0))).min_by_key(|head| head.1)
            else {
                break;
            };
            let Some(queue) = self.pending.get_mut(&size) else { break };
            let taken = queue.pop_front();
            if queue.is_empty() {
                self.pending.remove(&size);
            }
            let Some((_, tag)) = taken else { break };
            // A pod that was removed while it was pending leaves only its place in the queue.
            let Some(pod) = self.pods.get_mut(&tag) else { continue };
            pod.placed = Some(self.now);
            self.free = self.free.minus(size);
            self.queue.push(Reverse((self.now + start, Happening::PodReady(tag))));
        }
    }

    fn remove(&mut self, tag: Tag) {
        let Some(pod) = self.pods.remove(&tag) else { return };
        if let Some(placed) = pod.placed {
            self.free = self.free.plus(pod.size);
            let inside = (self.now.min(self.end) - placed.min(self.end)).max(0) as f64;
            self.out.reserved_ms += pod.size.vcpu() * inside;
        }
    }
}

/// One step of the hash of Fowler, Noll and Vo (FNV-1a), by words.
fn fnv(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0100_0000_01b3)
}

/// What is left for runs.
pub fn left(catalogue: &Catalogue, capacity: Size, tenants: u32) -> Size {
    let always = catalogue.always_on;
    let all = Size {
        millicores: always.millicores * u64::from(tenants),
        mebibytes: always.mebibytes * u64::from(tenants),
    };
    capacity.minus(all)
}
