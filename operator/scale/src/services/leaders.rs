//! Who is followed: the expert that would have cost least so far, by situation.
//!
//! Every expert is followed in the shadow all the time, so all costs are known (follow the leader with full information).
//! One ledger sums over everything; others sum by situation, where what all have cost elsewhere counts as evidence, too:
//! the more, the dearer a violation, as few of them tell experts apart. What each ledger's leaders would have cost
//! together is summed up as well, and the cheapest ledger is followed. So a situation may have a leader of its own, but
//! only as long as that has paid.

use super::choice::Weighing;
use super::experts::{EXPERTS, Experts, Shadow};
use super::features::Features;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Ways to tell situations apart; the first does not.
pub(super) const LEDGERS: usize = 3;
/// Situations of a moment, one for each ledger.
type Keys = [u8; LEDGERS];

/// What experts have cost in one situation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Row {
    /// More than the cheapest: replica-steps.
    regrets: Vec<f32>,
    steps: f32,
    leader: Option<usize>,
}

/// One way to tell situations apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Ledger {
    rows: BTreeMap<u8, Row>,
    /// Its leaders, followed.
    shadow: Shadow,
    /// What that has cost more than the cheapest ledger: replica-steps.
    regret: f64,
}

/// All ledgers. Bounded; can be stored and restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Leaders {
    ledgers: Vec<Ledger>,
    /// Situations of the last steps, the newest last: a step's cost belongs to the one in which it was decided.
    before: VecDeque<Keys>,
    /// The ledger that is followed.
    followed: usize,
}

impl Default for Leaders {
    fn default() -> Self {
        Self { ledgers: vec![Ledger::default(); LEDGERS], before: VecDeque::new(), followed: 0 }
    }
}

/// Situations of a moment: all the same; by the time of the day; by how high the load is and how much it has varied over
/// an hour.
fn keys(now: &Features) -> Keys {
    let level = (2.0 * (1.0 + now.highest[1]).log2()).clamp(0.0, 39.0) as u8;
    let spread = (4.0 * ((now.highest[3] + 0.2) / (now.means[1] + 0.2)).log2()).clamp(0.0, 4.0) as u8;
    [0, (now.hour / 3) as u8, level * 5 + spread]
}

impl Leaders {
    /// Sums up the step that is over; `costs` are the experts'.
    pub(super) fn charge(&mut self, costs: &[f64], samples: &[f64], lead: usize, how: &Weighing) {
        for ledger in &mut self.ledgers {
            ledger.regret += ledger.shadow.cost(samples, how.price).unwrap_or_default();
        }
        let least = self.ledgers.iter().map(|ledger| ledger.regret).fold(f64::INFINITY, f64::min);
        for ledger in &mut self.ledgers {
            ledger.regret -= least;
        }
        if self.before.len() > lead
            && let Some(keys) = self.before.pop_front()
        {
            for (ledger, key) in self.ledgers.iter_mut().zip(keys) {
                ledger.rows.entry(key).or_default().add(costs);
            }
        }
    }

    /// The expert to follow now, and how many replicas that makes.
    pub(super) fn lead(
        &mut self,
        now: &Features,
        experts: &Experts,
        lead: usize,
        how: &Weighing,
    ) -> (usize, u32) {
        let keys = keys(now);
        self.before.push_back(keys);
        while self.before.len() > lead + 1 {
            self.before.pop_front();
        }
        // What a step has cost each expert more than the cheapest, over everything.
        let all = self.ledgers[0].rows.get(&0).filter(|row| row.steps > 0.0);
        let mean: Vec<f64> = all.map_or_else(
            || vec![0.0; EXPERTS],
            |row| row.regrets.iter().map(|regret| f64::from(regret / row.steps)).collect(),
        );
        let ledgers = if how.price > how.leading.close { 1 } else { LEDGERS };
        let mut leaders = [0; LEDGERS];
        for (place, ledger) in self.ledgers.iter_mut().enumerate() {
            let row = ledger.rows.entry(keys[place]).or_default();
            let evidence = if place == 0 { 0.0 } else { how.leading.evidence * how.price };
            leaders[place] = row.leader(&mean, evidence, how);
            ledger.shadow.follow(experts, leaders[place], lead, how);
        }
        if self.ledgers[self.followed].regret > 0.0 || self.followed >= ledgers {
            let cheapest = |one: &usize, other: &usize| {
                self.ledgers[*one].regret.total_cmp(&self.ledgers[*other].regret)
            };
            self.followed = (0..ledgers).min_by(cheapest).unwrap_or_default();
        }
        (leaders[self.followed], self.ledgers[self.followed].shadow.total())
    }
}

#[cfg(test)]
impl Leaders {
    /// An expert leads at first, wherever.
    pub(super) fn start_with(&mut self, expert: usize) {
        for ledger in &mut self.ledgers {
            for key in 0..=u8::MAX {
                ledger.rows.insert(key, Row { leader: Some(expert), ..Row::default() });
            }
        }
    }
}

impl Row {
    fn add(&mut self, costs: &[f64]) {
        self.regrets.resize(EXPERTS, 0.0);
        self.steps += 1.0;
        let mut least = f32::INFINITY;
        for (regret, cost) in self.regrets.iter_mut().zip(costs) {
            *regret += *cost as f32;
            least = least.min(*regret);
        }
        for regret in &mut self.regrets {
            *regret -= least;
        }
    }

    /// The cheapest, unless the leader is not far behind.
    fn leader(&mut self, mean: &[f64], evidence: f64, how: &Weighing) -> usize {
        let score = |expert: usize| {
            let here = self.regrets.get(expert).copied().map_or(0.0, f64::from);
            here + evidence * mean.get(expert).copied().unwrap_or_default()
        };
        let (best, least) = (0..EXPERTS)
            .map(|expert| (expert, score(expert)))
            .fold((0, f64::INFINITY), |best, one| if one.1 < best.1 { one } else { best });
        let leader = self.leader.unwrap_or_else(|| how.leading.first(how.price)).min(EXPERTS - 1);
        let leader =
            if score(leader) > least + how.leading.ahead(how, f64::from(self.steps)) { best } else { leader };
        self.leader = Some(leader);
        leader
    }
}
