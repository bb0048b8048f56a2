//! Horizontal Pod Autoscaler on shared workers, one Deployment per kind: every 15 s wanted = ceil(pods x seen / target),
//! nothing within 10 %, pods that are not ready count as idle when it would grow, growth by max(100 %, 4 pods) per 15 s,
//! shrinking to the highest wish of the last 300 s, never below one pod. Idle workers leave first and busy ones finish.

use super::{Info, Order, Policy, Seen, manifest};
use crate::shapes::Catalogue;
use crate::world::Tag;
use homeostat_scale::jobs::Size;
use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Copy)]
pub enum Target {
    /// Per cent of the workers' CPU.
    Cpu(u32),
    /// Messages per worker.
    Queue(u32),
}

pub struct Hpa {
    target: Target,
    kinds: Vec<Workers>,
    /// Kind of each pod ever made.
    pods: Vec<usize>,
}

struct Workers {
    size: Size,
    most: u32,
    queue: VecDeque<Info>,
    idle: BTreeSet<u32>,
    busy: BTreeSet<u32>,
    starting: BTreeSet<u32>,
    leaving: BTreeSet<u32>,
    /// Wishes of the last 300 s.
    wishes: VecDeque<u32>,
}

impl Hpa {
    pub fn new(catalogue: &Catalogue, capacity: Size, target: Target) -> Self {
        let workers = |kind| {
            let size = manifest(catalogue, kind);
            Workers {
                size,
                most: (capacity.millicores / size.millicores).max(1) as u32,
                queue: VecDeque::new(),
                idle: BTreeSet::new(),
                busy: BTreeSet::new(),
                starting: BTreeSet::new(),
                leaving: BTreeSet::new(),
                wishes: VecDeque::new(),
            }
        };
        Self { target, kinds: (0..catalogue.kinds.len()).map(workers).collect(), pods: Vec::new() }
    }

    fn scale(&mut self, kind: usize, orders: &mut Vec<Order>) {
        let workers = &mut self.kinds[kind];
        let ready = (workers.idle.len() + workers.busy.len()) as u32;
        let pods = ready + workers.starting.len() as u32;
        let ratio = |of: u32| match self.target {
            Target::Cpu(target) => {
                workers.busy.len() as f64 / f64::from(of.max(1)) / (f64::from(target) / 100.0)
            }
            Target::Queue(target) => {
                let messages = workers.queue.len() + workers.busy.len();
                messages as f64 / f64::from(of.max(1)) / f64::from(target)
            }
        };
        let near = |ratio: f64| (0.9..=1.1).contains(&ratio);
        let mut wish = pods;
        if ready > 0 {
            // Messages are counted over all pods, CPU over those that have any.
            let seen = match self.target {
                Target::Cpu(_) => ratio(ready),
                Target::Queue(_) => ratio(pods),
            };
            let all = ratio(pods);
            if !near(seen) {
                if seen > 1.0 && all > 1.1 {
                    wish = (all * f64::from(pods)).ceil() as u32;
                } else if seen < 1.0 {
                    wish = (seen * f64::from(ready)).ceil() as u32;
                }
            }
        }
        wish = wish.clamp(1, workers.most);
        workers.wishes.push_back(wish);
        if workers.wishes.len() > 20 {
            workers.wishes.pop_front();
        }
        let held = workers.wishes.iter().copied().max().unwrap_or(wish);
        if wish > pods {
            let next = wish.min((pods * 2).max(pods + 4));
            for _ in pods..next {
                let pool = self.pods.len() as u32;
                self.pods.push(kind);
                workers.starting.insert(pool);
                orders.push(Order::Pool { pool, size: workers.size });
            }
        } else {
            for _ in held..pods {
                // Pods that have not started leave first, then idle ones, then busy ones when they are done.
                let leaves = workers.starting.pop_last().or_else(|| workers.idle.pop_last());
                if let Some(pool) = leaves {
                    orders.push(Order::Remove { pool });
                } else if let Some(pool) = workers.busy.pop_last() {
                    workers.leaving.insert(pool);
                    orders.push(Order::Remove { pool });
                }
            }
        }
    }
}

impl Policy for Hpa {
    fn period_ms(&self) -> Option<i64> {
        Some(15_000)
    }

    fn begin(&mut self, _now: i64, orders: &mut Vec<Order>) {
        for (kind, workers) in self.kinds.iter_mut().enumerate() {
            workers.starting.insert(kind as u32);
            self.pods.push(kind);
            orders.push(Order::Pool { pool: kind as u32, size: workers.size });
        }
    }

    fn decide(&mut self, _now: i64, seen: &[Seen], orders: &mut Vec<Order>) {
        for seen in seen {
            match seen {
                Seen::Ready(info) => self.kinds[info.kind].queue.push_back(*info),
                Seen::Ended { info, tag: Tag::Pool(pool), .. } => {
                    let workers = &mut self.kinds[info.kind];
                    if !workers.leaving.remove(pool) {
                        workers.busy.remove(pool);
                        workers.idle.insert(*pool);
                    }
                }
                Seen::PodReady(pool) => {
                    let workers = &mut self.kinds[self.pods[*pool as usize]];
                    if workers.starting.remove(pool) {
                        workers.idle.insert(*pool);
                    }
                }
                _ => {}
            }
        }
        for workers in &mut self.kinds {
            while let (Some(pool), Some(info)) =
                (workers.idle.first().copied(), workers.queue.front().copied())
            {
                workers.idle.remove(&pool);
                workers.queue.pop_front();
                workers.busy.insert(pool);
                orders.push(Order::Assign { pool, run: info.run, slower: 1.0 });
            }
        }
        if seen.iter().any(|seen| matches!(seen, Seen::Tick)) {
            (0..self.kinds.len()).for_each(|kind| self.scale(kind, orders));
        }
    }
}
