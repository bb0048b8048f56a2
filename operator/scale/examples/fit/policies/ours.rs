//! The planner of this crate. It is told tenants, jobs, CPU and deadlines; run times and memory it learns.

use super::{Info, Order, Policy, Seen};
use crate::shapes::Catalogue;
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::{Criticality, Decision, Event, Job, JobId, Planner, Run, Settings, Size};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

pub struct Ours {
    planner: Planner,
    ids: Vec<JobId>,
    kinds: usize,
    /// Slots of each kind in each zone: calendars are known ahead.
    slots: Vec<Vec<Vec<i64>>>,
    /// The world's number of a run. Only looked up, never walked through.
    runs: HashMap<Run, u32>,
}

impl Ours {
    pub fn new(catalogue: &Catalogue, capacity: Size, tenants: u32, settings: Settings) -> Self {
        let settings = Settings {
            pod_start: SignedDuration::from_millis((catalogue.shapes.pod_start_seconds * 1_000.0) as i64),
            ..settings
        };
        let mut planner = Planner::new(settings, capacity);
        let here = Orderer::Homeostat { reason: "the simulated cluster has no Kueue".to_owned() };
        let zones = &catalogue.shapes.zones;
        let mut ids = Vec::new();
        for tenant in 0..tenants {
            for kind in &catalogue.kinds {
                let job = Job {
                    tenant: format!("tenant-{tenant:05}"),
                    name: kind.name.clone(),
                    millicores: kind.size.millicores,
                    mebibytes: None,
                    due_after: SignedDuration::from_millis(kind.due_ms),
                    not_before: SignedDuration::ZERO,
                    needs: kind.needs.map(|needs| catalogue.kinds[needs].name.clone()),
                    criticality: Criticality::Normal,
                    retries: 5,
                    pods: None,
                    most_millicores: None,
                    most_mebibytes: None,
                    zone: Some(zones[tenant as usize % zones.len()].clone()),
                };
                match planner.declare(job, &here) {
                    Ok(id) => ids.push(id),
                    Err(error) => {
                        eprintln!("{error}");
                        std::process::exit(2);
                    }
                }
            }
        }
        let moments = |slots: &Vec<(i64, bool)>| slots.iter().map(|slot| slot.0).collect();
        let slots = catalogue.kinds.iter().map(|kind| kind.slots.iter().map(moments).collect()).collect();
        Self { planner, ids, kinds: catalogue.kinds.len(), slots, runs: HashMap::new() }
    }

    fn run(&self, info: &Info) -> Run {
        Run { job: self.ids[info.tenant as usize * self.kinds + info.kind], slot: moment(info.slot_ms) }
    }
}

impl Ours {
    /// Tells the planner of the next slot of a tenant's kind after a moment.
    fn announce(&mut self, now: Timestamp, tenant: u32, kind: usize, after: i64) {
        let of_kind = &self.slots[kind];
        let slots = &of_kind[tenant as usize % of_kind.len()];
        if let Some(slot) = slots.get(slots.partition_point(|slot| *slot <= after)) {
            let run = Run { job: self.ids[tenant as usize * self.kinds + kind], slot: moment(*slot) };
            self.see(now, Event::Due(run));
        }
    }

    fn see(&mut self, now: Timestamp, event: Event) {
        if let Err(error) = self.planner.see(now, event) {
            eprintln!("{error}");
            std::process::exit(2);
        }
    }
}

impl Policy for Ours {
    fn begin(&mut self, now: i64, _orders: &mut Vec<Order>) {
        let tenants = (self.ids.len() / self.kinds) as u32;
        for tenant in 0..tenants {
            (0..self.kinds).for_each(|kind| self.announce(moment(now), tenant, kind, now - 1));
        }
    }

    fn decide(&mut self, now: i64, seen: &[Seen], orders: &mut Vec<Order>) {
        let now = moment(now);
        for seen in seen {
            let event = match seen {
                Seen::Due(info) => {
                    let run = self.run(info);
                    self.runs.insert(run, info.run);
                    self.announce(now, info.tenant, info.kind, info.slot_ms);
                    continue;
                }
                Seen::Ended { info, outcome, ran_ms, usage, .. } => {
                    let ran = SignedDuration::from_millis(*ran_ms);
                    Event::Ended { run: self.run(info), outcome: *outcome, ran, usage: *usage }
                }
                Seen::Ready(_) | Seen::PodReady(_) | Seen::Tick => continue,
            };
            self.see(now, event);
            if let Event::Ended { run, outcome: homeostat_scale::jobs::Outcome::Succeeded, .. } = event {
                self.runs.remove(&run);
            }
        }
        for decision in self.planner.decide(now) {
            if let Decision::Start { run, size, .. } = decision
                && let Some(run) = self.runs.get(&run)
            {
                orders.push(Order::Run { run: *run, size });
            }
        }
    }
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}
