//! One machine per tenant, as long as the capacity lasts. Each kind has its worker, so that whatever is possible runs at
//! once; the machine's CPU is shared with the always-on part, and a run goes slower by what was asked for when it began.

use super::{Info, Order, Policy, Seen};
use crate::shapes::Catalogue;
use homeostat_scale::jobs::Size;
use std::collections::VecDeque;

pub struct Fixed {
    size: Size,
    always: u64,
    needs: Vec<u64>,
    machines: Vec<Machine>,
}

#[derive(Clone, Default)]
struct Machine {
    queue: VecDeque<Info>,
    ready: bool,
    busy: u64,
}

impl Fixed {
    pub fn new(catalogue: &Catalogue, capacity: Size, tenants: u32, vcpu: u64) -> Self {
        let millicores = vcpu * 1_000;
        let most = (capacity.millicores / millicores).min(u64::from(tenants)) as usize;
        let mebibytes = capacity.mebibytes / (capacity.millicores / millicores).max(1);
        Self {
            size: Size { millicores, mebibytes },
            always: catalogue.always_on.millicores,
            needs: catalogue.kinds.iter().map(|kind| kind.size.millicores).collect(),
            machines: vec![Machine::default(); most],
        }
    }
}

impl Policy for Fixed {
    fn begin(&mut self, _now: i64, orders: &mut Vec<Order>) {
        let size = self.size;
        orders.extend((0..self.machines.len()).map(|pool| Order::Pool { pool: pool as u32, size }));
    }

    fn decide(&mut self, _now: i64, seen: &[Seen], orders: &mut Vec<Order>) {
        let mut touched = Vec::new();
        for seen in seen {
            let tenant = match seen {
                Seen::Ready(info) => {
                    // Tenants without a machine wait for ever.
                    let Some(machine) = self.machines.get_mut(info.tenant as usize) else { continue };
                    machine.queue.push_back(*info);
                    info.tenant
                }
                Seen::Ended { info, .. } => {
                    self.machines[info.tenant as usize].busy -= self.needs[info.kind];
                    info.tenant
                }
                Seen::PodReady(pool) => {
                    self.machines[*pool as usize].ready = true;
                    *pool
                }
                Seen::Due(_) | Seen::Tick => continue,
            };
            touched.push(tenant);
        }
        for tenant in touched {
            let machine = &mut self.machines[tenant as usize];
            while machine.ready {
                let Some(info) = machine.queue.pop_front() else { break };
                machine.busy += self.needs[info.kind];
                let slower = ((machine.busy + self.always) as f64 / self.size.millicores as f64).max(1.0);
                orders.push(Order::Assign { pool: tenant, run: info.run, slower });
            }
        }
    }
}
