//! Lower bound: runs may be cut into any pieces at any rate, their times are known, and the most urgent goes first
//! (optimal for one divisible resource: Dertouzos 1974). No policy that must not interrupt runs holds more tenants.

use crate::draws::Tenant;
use crate::shapes::Catalogue;
use crate::world::{Setting, left};
use homeostat_scale::jobs::Size;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Work from a moment on until another.
struct Piece {
    from: i64,
    due: i64,
    /// Thousandths of a vCPU times milliseconds.
    work: i64,
}

/// Runs that miss their deadline in the relaxation; at least this many miss it under every policy, if any.
pub fn missed(catalogue: &Catalogue, setting: Setting, capacity: Size) -> u64 {
    let start = (catalogue.shapes.pod_start_seconds * 1_000.0) as i64;
    let mut pieces = Vec::new();
    let mut missed = 0;
    for tenant in 0..setting.tenants {
        let mut chance = Tenant::new(catalogue, setting.seed, tenant);
        let zone = tenant as usize % catalogue.shapes.zones.len();
        let kinds = catalogue.kinds.iter().enumerate();
        let mut slots: Vec<(i64, usize, bool)> = kinds
            .flat_map(|(kind, k)| k.slots[zone].iter().map(move |slot| (slot.0, kind, slot.1)))
            .collect();
        slots.sort_unstable();
        let mut ends = vec![(0, 0); catalogue.kinds.len()];
        for (slot, kind, weekend) in slots {
            let drawn = chance.draw(catalogue, kind, slot, weekend);
            let shape = &catalogue.kinds[kind];
            let from = match shape.needs {
                Some(needs) if ends[needs].0 == slot => ends[needs].1,
                _ => slot,
            } + start;
            let lasts =
                if drawn.fails { drawn.lasts_ms + drawn.lasts_ms / 2 + start } else { drawn.lasts_ms };
            let due = slot + shape.due_ms;
            ends[kind] = (slot, from + lasts);
            if from + lasts > due {
                missed += 1;
                continue;
            }
            let busy = if drawn.fails { lasts - start } else { lasts };
            pieces.push(Piece { from, due, work: busy * shape.size.millicores as i64 });
        }
    }
    pieces.sort_by_key(|piece| piece.from);
    let rate = left(catalogue, capacity, setting.tenants).millicores.max(1) as i64;
    let mut open: BinaryHeap<Reverse<(i64, i64)>> = BinaryHeap::new();
    let (mut now, mut next) = (i64::MIN, pieces.into_iter().peekable());
    loop {
        if open.is_empty() {
            let Some(piece) = next.peek() else { break };
            now = now.max(piece.from);
        }
        while let Some(piece) = next.next_if(|piece| piece.from <= now) {
            open.push(Reverse((piece.due, piece.work)));
        }
        let Some(Reverse((due, work))) = open.pop() else { continue };
        let done = now + (work + rate - 1) / rate;
        let until = next.peek().map_or(done, |piece| piece.from.min(done));
        if until < done {
            open.push(Reverse((due, work - (until - now) * rate)));
        } else if done > due {
            missed += 1;
        }
        now = until;
    }
    missed
}
