//! KEDA `ScaledJob`, one per kind over all tenants' queue: every 30 s, wanted = min(most, ceil(messages / target)) and
//! wanted - running Jobs are made (strategy `default`; messages in work count until they are done). Each Job takes the
//! oldest message and ends with it. Pods that do not fit are pending.

use super::{Info, Order, Policy, Seen, manifest};
use crate::shapes::Catalogue;
use crate::world::Tag;
use homeostat_scale::jobs::Size;
use std::collections::VecDeque;

pub struct Keda {
    target: u32,
    most: u32,
    kinds: Vec<Scaled>,
    /// Kind of each Job ever made.
    jobs: Vec<usize>,
}

struct Scaled {
    size: Size,
    queue: VecDeque<Info>,
    in_work: u32,
    jobs: u32,
}

impl Keda {
    pub fn new(catalogue: &Catalogue, target: u32, most: u32) -> Self {
        let scaled =
            |kind| Scaled { size: manifest(catalogue, kind), queue: VecDeque::new(), in_work: 0, jobs: 0 };
        Self { target, most, kinds: (0..catalogue.kinds.len()).map(scaled).collect(), jobs: Vec::new() }
    }
}

impl Policy for Keda {
    fn period_ms(&self) -> Option<i64> {
        Some(30_000)
    }

    fn decide(&mut self, _now: i64, seen: &[Seen], orders: &mut Vec<Order>) {
        for seen in seen {
            match seen {
                Seen::Ready(info) => self.kinds[info.kind].queue.push_back(*info),
                Seen::Ended { info, tag: Tag::Pool(pool), .. } => {
                    let scaled = &mut self.kinds[info.kind];
                    scaled.in_work -= 1;
                    scaled.jobs -= 1;
                    orders.push(Order::Remove { pool: *pool });
                }
                Seen::PodReady(pool) => {
                    let scaled = &mut self.kinds[self.jobs[*pool as usize]];
                    if let Some(info) = scaled.queue.pop_front() {
                        scaled.in_work += 1;
                        orders.push(Order::Assign { pool: *pool, run: info.run, slower: 1.0 });
                    } else {
                        scaled.jobs -= 1;
                        orders.push(Order::Remove { pool: *pool });
                    }
                }
                _ => {}
            }
        }
        if !seen.iter().any(|seen| matches!(seen, Seen::Tick)) {
            return;
        }
        for (kind, scaled) in self.kinds.iter_mut().enumerate() {
            let messages = scaled.queue.len() as u32 + scaled.in_work;
            let wanted = messages.div_ceil(self.target).min(self.most);
            for _ in scaled.jobs..wanted {
                orders.push(Order::Pool { pool: self.jobs.len() as u32, size: scaled.size });
                self.jobs.push(kind);
                scaled.jobs += 1;
            }
        }
    }
}
