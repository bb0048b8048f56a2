//! Earliest deadline first with free dispatch: the most urgent run that fits starts, nothing is learnt.

use super::{Order, Policy, Seen, manifest};
use crate::shapes::Catalogue;
use crate::world::Tag;
use homeostat_scale::jobs::Size;
use std::collections::{BTreeMap, BTreeSet};

pub struct Earliest {
    free: Size,
    sizes: Vec<Size>,
    queues: Vec<BTreeSet<(i64, u32)>>,
    running: BTreeMap<u32, Size>,
}

impl Earliest {
    pub fn new(catalogue: &Catalogue, capacity: Size) -> Self {
        let kinds = catalogue.kinds.len();
        Self {
            free: capacity,
            sizes: (0..kinds).map(|kind| manifest(catalogue, kind)).collect(),
            queues: vec![BTreeSet::new(); kinds],
            running: BTreeMap::new(),
        }
    }
}

impl Policy for Earliest {
    fn decide(&mut self, _now: i64, seen: &[Seen], orders: &mut Vec<Order>) {
        for seen in seen {
            match seen {
                Seen::Ready(info) => {
                    self.queues[info.kind].insert((info.due_ms, info.run));
                }
                Seen::Ended { tag: Tag::Run(run), .. } => {
                    let size = self.running.remove(run).unwrap_or_default();
                    self.free = self.free.plus(size);
                }
                _ => {}
            }
        }
        loop {
            let fitting = (0..self.queues.len()).filter(|kind| self.sizes[*kind].fits(self.free));
            let head = fitting.filter_map(|kind| Some((*self.queues[kind].first()?, kind))).min();
            let Some((head, kind)) = head else { break };
            self.queues[kind].remove(&head);
            let size = self.sizes[kind];
            self.free = self.free.minus(size);
            self.running.insert(head.1, size);
            orders.push(Order::Run { run: head.1, size });
        }
    }
}
