//! A short rule that tells the rows of an alarm from usual rows: "m12 above 0.8 and m3 below 0.1".
//!
//! A small classification tree (Breiman et al. 1984) is grown on both sets of rows with equal weight for either
//! side; the path that keeps the most alarm rows and the fewest usual ones is the rule. Rows, dimensions and depth
//! are bounded, and the answer depends on nothing but the rows.

use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use linfa_trees::{DecisionTree, SplitQuality, TreeNode};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::words::digits;

/// How large the search is and how good a rule must be. The default is the shipped setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleConfig {
    /// Conditions of a rule, 1 to 5.
    pub conditions: usize,
    /// Dimensions looked at, those that differ most, 1 to 64.
    pub dimensions: usize,
    /// Latest alarm rows looked at, 1 to 64; the power of two below it is taken.
    pub alarm_rows: usize,
    /// Usual rows looked at, evenly thinned, 1 to 256.
    pub usual_rows: usize,
    /// Smallest share of the alarm rows that the rule must keep.
    pub least_alarm_share: f64,
    /// Largest share of the usual rows that it may keep.
    pub most_usual_share: f64,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            conditions: 3,
            dimensions: 16,
            alarm_rows: 32,
            usual_rows: 256,
            least_alarm_share: 0.6,
            most_usual_share: 0.05,
        }
    }
}

/// One side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Dimension.
    pub dimension: usize,
    /// The value is above the limit; else it is at the limit or below.
    pub above: bool,
    /// Limit, in the dimension's unit.
    pub limit: f64,
}

impl Condition {
    fn holds(&self, row: &[f64]) -> bool {
        row.get(self.dimension)
            .is_some_and(|value| if self.above { *value > self.limit } else { *value <= self.limit })
    }
}

/// A rule and how well it holds on the rows that it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// Alarm rows that it keeps, and alarm rows looked at.
    pub alarm_rows: (usize, usize),
    /// Usual rows that it keeps, and usual rows looked at.
    pub usual_rows: (usize, usize),
    /// The rule in words.
    pub text: String,
}

/// The rule that tells `alarm` rows from `usual` ones, or `None` when no short rule does.
///
/// Rows hold one value for each of `names`, oldest row first. A value that is not finite or absent keeps no
/// condition. Cost: dimensions × rows × log rows, all bounded by the configuration.
pub fn separate(usual: &[Vec<f64>], alarm: &[Vec<f64>], names: &[&str], config: RuleConfig) -> Option<Rule> {
    let alarm = latest(alarm, config.alarm_rows.clamp(1, 64));
    let usual = thinned(usual, config.usual_rows.clamp(1, 256));
    if alarm.is_empty() || usual.is_empty() {
        return None;
    }
    let columns = most_different(&usual, &alarm, names.len(), config.dimensions.clamp(1, 64));
    if columns.is_empty() {
        return None;
    }
    let mut paths = Vec::new();
    walk(
        grow(&usual, &alarm, &columns, config.conditions.clamp(1, 5))?.root_node(),
        &columns,
        &mut Vec::new(),
        &mut paths,
    );

    let count = |conditions: &[Condition], rows: &[&Vec<f64>]| {
        rows.iter().filter(|row| conditions.iter().all(|condition| condition.holds(row))).count()
    };
    let share = |part: usize, all: usize| part as f64 / all as f64;
    let mut best: Option<(f64, Rule)> = None;
    for conditions in paths {
        let kept = (count(&conditions, &alarm), count(&conditions, &usual));
        let (hit, wrong) = (share(kept.0, alarm.len()), share(kept.1, usual.len()));
        if hit < config.least_alarm_share || wrong > config.most_usual_share {
            continue;
        }
        // A further condition must be worth its words.
        let gain = hit - wrong - 0.01 * conditions.len() as f64;
        if best.as_ref().is_none_or(|(most, _)| gain > *most) {
            let shortened =
                shorten(&conditions, |short| (count(short, &alarm), count(short, &usual)) == kept);
            let text = words(&shortened, names, kept.0, alarm.len());
            let rule = Rule {
                conditions: shortened.into_iter().map(|(condition, _)| condition).collect(),
                alarm_rows: (kept.0, alarm.len()),
                usual_rows: (kept.1, usual.len()),
                text: format!("{text}, {} of {} usual rows)", kept.1, usual.len()),
            };
            best = Some((gain, rule));
        }
    }
    best.map(|(_, rule)| rule)
}

/// The latest rows, as many as the largest power of two that fits. With a power of two, the weights below can never
/// tie, and a tie is where the tree would depend on the order of a hash map.
fn latest(rows: &[Vec<f64>], most: usize) -> Vec<&Vec<f64>> {
    let fits = rows.len().min(most);
    let count = if fits == 0 { 0 } else { 1_usize << fits.ilog2() };
    rows[rows.len() - count..].iter().collect()
}

fn thinned(rows: &[Vec<f64>], most: usize) -> Vec<&Vec<f64>> {
    let count = rows.len().min(most);
    (0..count).map(|index| &rows[index * rows.len() / count]).collect()
}

/// A dimension with the median and spread of its usual values.
struct Column {
    dimension: usize,
    middle: f64,
    spread: f64,
}

impl Column {
    /// A value in usual spreads; a missing one counts as usual.
    fn scaled(&self, row: &[f64]) -> f64 {
        let value = row.get(self.dimension).copied().filter(|value| value.is_finite()).unwrap_or(self.middle);
        ((value - self.middle) / self.spread).clamp(-1e6, 1e6)
    }
}

/// Dimensions whose alarm rows lie furthest from usual, furthest first.
fn most_different(usual: &[&Vec<f64>], alarm: &[&Vec<f64>], dimensions: usize, most: usize) -> Vec<Column> {
    let mut columns: Vec<(f64, Column)> = (0..dimensions)
        .filter_map(|dimension| {
            let values = finite(usual, dimension)?;
            let middle = values[values.len() / 2];
            // A twentieth of the range stands in for a spread of zero, as for a dimension that hardly moves.
            let range = values[values.len() - 1] - values[0];
            let spread = (values[values.len() * 9 / 10] - values[values.len() / 10]).max(0.05 * range);
            let others = finite(alarm, dimension)?;
            let furthest = (others[0] - middle).abs().max((others[others.len() - 1] - middle).abs());
            let spread = if spread > 0.0 { spread } else { furthest };
            let usable = spread > 0.0 && spread.is_finite();
            let distance = ((others[others.len() / 2] - middle) / spread).abs();
            usable.then_some((distance, Column { dimension, middle, spread }))
        })
        .collect();
    columns.sort_by(|a, b| b.0.total_cmp(&a.0));
    columns.truncate(most);
    columns.into_iter().map(|(_, column)| column).collect()
}

fn finite(rows: &[&Vec<f64>], dimension: usize) -> Option<Vec<f64>> {
    let mut values: Vec<f64> =
        rows.iter().filter_map(|row| row.get(dimension).copied()).filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then_some(values)
}

fn grow(
    usual: &[&Vec<f64>],
    alarm: &[&Vec<f64>],
    columns: &[Column],
    depth: usize,
) -> Option<DecisionTree<f64, bool>> {
    let rows = usual.len() + alarm.len();
    let values =
        usual.iter().chain(alarm).flat_map(|row| columns.iter().map(|column| column.scaled(row))).collect();
    let records = Array2::from_shape_vec((rows, columns.len()), values).ok()?;
    let targets = Array1::from_iter((0..rows).map(|row| row >= usual.len()));
    // Both sides weigh the same, but for half a row: k alarm rows weigh k(2u + 1)/2a, and with a power of two for a
    // that is never a whole number of usual rows.
    let weight = (2 * usual.len() + 1) as f32 / (2 * alarm.len()) as f32;
    let weights = Array1::from_iter((0..rows).map(|row| if row >= usual.len() { weight } else { 1.0 }));
    let dataset = DatasetBase::new(records, targets).with_weights(weights);
    DecisionTree::params()
        .split_quality(SplitQuality::Gini)
        .max_depth(Some(depth))
        .min_weight_split(2.0)
        .min_weight_leaf(1.0)
        .fit(&dataset)
        .ok()
}

/// Every path from the root to a leaf, conditions on the same side of a dimension merged.
fn walk(
    node: &TreeNode<f64, bool>,
    columns: &[Column],
    path: &mut Vec<Condition>,
    paths: &mut Vec<Vec<Condition>>,
) {
    if node.is_leaf() {
        if !path.is_empty() {
            paths.push(merged(path));
        }
        return;
    }
    let (feature, split, _) = node.split();
    let Some(column) = columns.get(feature) else { return };
    let limit = column.middle + split * column.spread;
    for (child, above) in node.children().into_iter().zip([false, true]) {
        if let Some(child) = child {
            path.push(Condition { dimension: column.dimension, above, limit });
            walk(child, columns, path, paths);
            path.pop();
        }
    }
}

fn merged(path: &[Condition]) -> Vec<Condition> {
    let mut kept: Vec<Condition> = Vec::new();
    for condition in path {
        match kept
            .iter_mut()
            .find(|other| other.dimension == condition.dimension && other.above == condition.above)
        {
            Some(other) => {
                other.limit = if other.above {
                    other.limit.max(condition.limit)
                } else {
                    other.limit.min(condition.limit)
                };
            }
            None => kept.push(*condition),
        }
    }
    kept
}

/// The limits with the fewest digits that keep the very same rows, and how many digits each needs.
fn shorten(conditions: &[Condition], same: impl Fn(&[Condition]) -> bool) -> Vec<(Condition, usize)> {
    let mut exact = conditions.to_vec();
    let mut needed = Vec::new();
    for index in 0..exact.len() {
        let full = exact[index].limit;
        let short = (1..=16).find(|&count| {
            exact[index].limit = digits(full, count).parse().unwrap_or(full);
            same(&exact)
        });
        if short.is_none() {
            exact[index].limit = full;
        }
        needed.push(short.unwrap_or(17));
    }
    exact.into_iter().zip(needed).collect()
}

fn words(conditions: &[(Condition, usize)], names: &[&str], kept: usize, all: usize) -> String {
    let parts: Vec<String> = conditions
        .iter()
        .map(|(condition, count)| {
            let name = names.get(condition.dimension).copied().unwrap_or("?");
            let side = if condition.above { "above" } else { "at most" };
            format!("{name} {side} {}", digits(condition.limit, *count))
        })
        .collect();
    format!("{} ({kept} of {all} alarm rows", parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / ((1_u64 << 53) as f64)
        }
    }

    fn rows(count: usize, mut row: impl FnMut() -> Vec<f64>) -> Vec<Vec<f64>> {
        (0..count).map(|_| row()).collect()
    }

    #[test]
    fn the_metric_that_moved_is_the_rule() {
        let mut noise = noise(1);
        let usual = rows(400, || vec![0.2 + 0.1 * noise(), noise(), 0.5 * noise()]);
        let alarm = rows(20, || vec![0.9 + 0.1 * noise(), noise(), 0.5 * noise()]);
        let rule = separate(&usual, &alarm, &["cpu", "disk", "net"], RuleConfig::default()).expect("a rule");
        assert_eq!(rule.text, "cpu above 0.6 (16 of 16 alarm rows, 0 of 256 usual rows)");
        assert_eq!(rule.conditions.len(), 1);
    }

    #[test]
    fn two_metrics_that_only_together_are_unusual_give_two_conditions() {
        let mut noise = noise(2);
        let usual = rows(300, || {
            if noise() < 0.5 { vec![noise(), 0.5 * noise() + 0.5] } else { vec![0.5 * noise(), noise()] }
        });
        let alarm = rows(16, || vec![0.7 + 0.3 * noise(), 0.3 * noise()]);
        let rule = separate(&usual, &alarm, &["m12", "m3"], RuleConfig::default()).expect("a rule");
        assert!(rule.text.contains("m12 above") && rule.text.contains("m3 at most"), "{}", rule.text);
        assert_eq!(rule.alarm_rows.0, 16);
        assert!(rule.usual_rows.0 <= 5);
    }

    #[test]
    fn rows_that_do_not_differ_have_no_rule() {
        let mut noise = noise(3);
        let usual = rows(256, || vec![noise(), noise()]);
        let alarm = rows(32, || vec![noise(), noise()]);
        assert_eq!(separate(&usual, &alarm, &["a", "b"], RuleConfig::default()), None);
        assert_eq!(separate(&usual, &[], &["a", "b"], RuleConfig::default()), None);
        assert_eq!(separate(&[vec![1.0]], &[vec![1.0]], &["a"], RuleConfig::default()), None);
    }

    proptest! {
        #[test]
        fn any_rows_give_a_bounded_rule_that_holds_as_it_says_and_always_the_same(
            usual in prop::collection::vec(prop::collection::vec(prop_oneof![any::<f64>(), 0.0_f64..1.0], 0..4), 0..40),
            alarm in prop::collection::vec(prop::collection::vec(prop_oneof![any::<f64>(), 0.5_f64..1.5], 0..4), 0..40),
        ) {
            let rule = separate(&usual, &alarm, &["a", "b", "c"], RuleConfig::default());
            prop_assert_eq!(&rule, &separate(&usual, &alarm, &["a", "b", "c"], RuleConfig::default()));
            if let Some(rule) = rule {
                prop_assert!((1..=3).contains(&rule.conditions.len()));
                let holds = |row: &&Vec<f64>| rule.conditions.iter().all(|condition| condition.holds(row));
                prop_assert_eq!(latest(&alarm, 32).iter().filter(|row| holds(row)).count(), rule.alarm_rows.0);
                prop_assert_eq!(thinned(&usual, 256).iter().filter(|row| holds(row)).count(), rule.usual_rows.0);
                prop_assert!(10 * rule.alarm_rows.0 >= 6 * rule.alarm_rows.1);
            }
        }
    }
}
