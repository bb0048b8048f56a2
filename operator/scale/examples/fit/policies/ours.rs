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
    /// The world's number of a run. Only looked up, never walked through.
    runs: HashMap<Run, u32>,
}

impl Ours {
    pub fn new(catalogue: &Catalogue, capacity: Size, tenants: u32) -> Self {
        let settings = Settings {
            pod_start: SignedDuration::from_millis((catalogue.shapes.pod_start_seconds * 1_000.0) as i64),
            ..Settings::default()
        };
        let mut planner = Planner::new(settings, capacity);
        let here = Orderer::Homeostat { reason: "the simulated cluster has no Kueue".to_owned() };
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
        Self { planner, ids, kinds: catalogue.kinds.len(), runs: HashMap::new() }
    }

    fn run(&self, info: &Info) -> Run {
        Run { job: self.ids[info.tenant as usize * self.kinds + info.kind], slot: moment(info.slot_ms) }
    }
}

impl Policy for Ours {
    fn decide(&mut self, now: i64, seen: &[Seen], orders: &mut Vec<Order>) {
        let now = moment(now);
        for seen in seen {
            let event = match seen {
                Seen::Due(info) => {
                    let run = self.run(info);
                    self.runs.insert(run, info.run);
                    Event::Due(run)
                }
                Seen::Ended { info, outcome, ran_ms, usage, .. } => {
                    let ran = SignedDuration::from_millis(*ran_ms);
                    Event::Ended { run: self.run(info), outcome: *outcome, ran, usage: *usage }
                }
                Seen::Ready(_) | Seen::PodReady(_) | Seen::Tick => continue,
            };
            if let Err(error) = self.planner.see(now, event) {
                eprintln!("{error}");
                std::process::exit(2);
            }
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
