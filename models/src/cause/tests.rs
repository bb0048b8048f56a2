//! Small made-up applications with one fault each, and what must hold for any input.

use proptest::prelude::*;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const FRONT: usize = 0;
const ORDER: usize = 1;
const CART: usize = 2;
const PAY: usize = 3;

/// What the application does in one window.
#[derive(Clone, Copy, Default)]
struct Fault {
    /// Additional milliseconds of own time, by entity.
    own: [f64; 4],
    /// Additional milliseconds between any caller and this callee.
    to: [f64; 4],
    /// Additional milliseconds between this caller and any callee.
    from: [f64; 4],
    /// This entity answers with an error, and so do those that wait for it.
    fails: Option<usize>,
    /// This entity does not call anybody.
    stops: Option<usize>,
    /// This entity is called, but leaves no span.
    silent: Option<usize>,
    /// This entity writes another line.
    line: Option<usize>,
}

/// Front calls order and cart, order calls cart and pay.
const CALLS: [(usize, usize); 4] = [(FRONT, ORDER), (FRONT, CART), (ORDER, CART), (ORDER, PAY)];

struct Writer<'a> {
    window: Window,
    fault: &'a Fault,
    noise: ChaCha8Rng,
    next: u64,
}

impl Writer<'_> {
    /// One visit; its end and whether it failed.
    fn visit(&mut self, trace: u64, parent: Option<u64>, entity: usize, start: f64) -> (f64, bool) {
        let id = self.next;
        self.next += 1;
        let place = self.window.spans.len();
        let span = |id, parent, operation, start| Span {
            trace,
            id,
            parent,
            entity,
            operation,
            start,
            duration: 0.0,
            error: false,
        };
        self.window.spans.push(span(id, parent, entity, start));
        let mut now = start + 1e-3 * (5.0 + self.noise.random_range(0.0..1.0) + self.fault.own[entity]);
        let mut failed = self.fault.fails == Some(entity);
        let callees = CALLS.iter().filter(|(caller, _)| *caller == entity).map(|(_, callee)| *callee);
        for callee in callees.filter(|_| self.fault.stops != Some(entity)).collect::<Vec<_>>() {
            let client = self.next;
            self.next += 1;
            let at = self.window.spans.len();
            // Client operations are numbered by their callee.
            self.window.spans.push(span(client, Some(id), 4 + callee, now));
            let wait =
                1.0 + self.noise.random_range(0.0..0.3) + self.fault.to[callee] + self.fault.from[entity];
            let (end, callee_failed) = if self.fault.silent == Some(callee) {
                (now + 0.01, false)
            } else {
                self.visit(trace, Some(client), callee, now + 0.5e-3 * wait)
            };
            let end = end + 0.5e-3 * wait;
            self.window.spans[at].duration = end - now;
            failed |= callee_failed;
            now = end;
        }
        for template in [entity, if self.fault.line == Some(entity) { 8 } else { 4 + entity }] {
            self.window.logs.push(Log { entity, template, count: 1, span: Some((trace, id)), at: now });
        }
        self.window.spans[place].duration = now - start;
        self.window.spans[place].error = failed;
        (now, failed)
    }
}

fn window(fault: &Fault, seed: u64, traces: u64) -> Window {
    let noise = ChaCha8Rng::seed_from_u64(seed);
    let mut writer = Writer { window: Window::default(), fault, noise, next: 0 };
    for trace in 0..traces {
        writer.visit(trace, None, FRONT, trace as f64);
    }
    writer.window
}

fn case(fault: Fault) -> Case {
    let names = ["front", "order", "cart", "pay"];
    let line = |text: String, error| Template { text, error };
    Case {
        entities: names.map(String::from).to_vec(),
        operations: (0..8).map(|operation| format!("operation {operation}")).collect(),
        templates: (0..8)
            .map(|template| line(format!("usual line {template}"), false))
            .chain([line("cannot".to_owned(), true)])
            .collect(),
        baseline: window(&Fault::default(), 1, 60),
        suspect: window(&fault, 2, 40),
        ..Case::default()
    }
}

fn ranked(case: &Case) -> Vec<Candidate> {
    rank(case, &CauseConfig::default())
}

fn first(case: &Case) -> (usize, Kind) {
    let candidates = ranked(case);
    let kind = candidates[0].evidence.first().unwrap_or_else(|| panic!("no evidence: {candidates:?}")).kind;
    (candidates[0].entity, kind)
}

fn only(entity: usize, amount: f64) -> [f64; 4] {
    let mut all = [0.0; 4];
    all[entity] = amount;
    all
}

#[test]
fn without_a_fault_nobody_is_accused_of_much() {
    let candidates = ranked(&case(Fault::default()));
    assert!(candidates[0].score < 0.3, "{candidates:?}");
}

#[test]
fn slow_work_is_charged_to_who_does_it_not_to_who_waits() {
    for entity in 0..4 {
        assert_eq!(
            first(&case(Fault { own: only(entity, 80.0), ..Fault::default() })),
            (entity, Kind::OwnTime)
        );
    }
}

#[test]
fn a_slow_way_to_a_callee_is_the_callees_network() {
    for entity in [ORDER, CART, PAY] {
        assert_eq!(
            first(&case(Fault { to: only(entity, 200.0), ..Fault::default() })),
            (entity, Kind::Network)
        );
    }
}

#[test]
fn a_caller_that_is_slow_towards_all_is_charged_itself() {
    for entity in [FRONT, ORDER] {
        let case = case(Fault { from: only(entity, 200.0), ..Fault::default() });
        assert_eq!(first(&case), (entity, Kind::Network));
    }
}

#[test]
fn errors_are_charged_to_where_they_begin() {
    for entity in 0..4 {
        let case = case(Fault { fails: Some(entity), ..Fault::default() });
        assert_eq!(first(&case), (entity, Kind::Errors));
        assert!(ranked(&case)[1].score < 0.1, "those that only wait are not accused");
    }
}

#[test]
fn a_visit_that_ends_early_is_charged_to_who_ends_it() {
    for entity in [FRONT, ORDER] {
        assert_eq!(
            first(&case(Fault { stops: Some(entity), ..Fault::default() })),
            (entity, Kind::MissingSpans)
        );
    }
}

#[test]
fn a_callee_without_spans_is_charged_instead_of_its_callers() {
    for entity in [CART, PAY] {
        let case = case(Fault { silent: Some(entity), ..Fault::default() });
        assert_eq!(ranked(&case)[0].entity, entity);
    }
}

#[test]
fn a_new_line_is_charged_to_who_writes_it_with_and_without_spans() {
    for entity in 0..4 {
        let mut case = case(Fault { line: Some(entity), ..Fault::default() });
        assert_eq!(first(&case), (entity, Kind::RareTemplates));
        for window in [&mut case.baseline, &mut case.suspect] {
            window.spans.clear();
            window.logs.iter_mut().for_each(|log| log.span = None);
        }
        assert_eq!(first(&case), (entity, Kind::RareTemplates), "logs alone");
    }
}

#[test]
fn fewer_errors_than_usual_are_no_fault() {
    let healthy = case(Fault { fails: Some(PAY), ..Fault::default() });
    let got_well = Case { baseline: healthy.suspect, suspect: healthy.baseline, ..healthy };
    assert!(ranked(&got_well)[0].score < 0.5, "{:?}", ranked(&got_well)[0]);
}

/// A flat series with one value now.
fn flat(entity: usize, measure: Measure, usual: f64, now: f64) -> Series {
    let wave = |row: u32| usual * (1.0 + 0.02 * f64::from(row % 5));
    Series { entity, measure, baseline: (0..30).map(wave).collect(), suspect: vec![now; 3] }
}

/// Metrics of the application; `now`: latency and failures of each entity.
fn metrics(latency: [f64; 4], failures: [f64; 4]) -> Vec<Series> {
    let usual = [0.050, 0.030, 0.005, 0.006];
    let mut series = Vec::new();
    for entity in 0..4 {
        series.push(flat(entity, Measure::Latency, usual[entity], latency[entity]));
        series.push(flat(entity, Measure::Failures, 0.001, failures[entity]));
        let requests = if entity == CART { 200.0 } else { 100.0 };
        series.push(flat(entity, Measure::Requests, requests, requests));
    }
    series
}

#[test]
fn metrics_alone_find_the_origin_of_time_and_of_failures() {
    let calls = CALLS.to_vec();
    let base = Case {
        series: Vec::new(),
        baseline: Window::default(),
        suspect: Window::default(),
        ..case(Fault::default())
    };
    // The cart takes 50 ms more at each of its two calls a request.
    let slow = metrics([0.150, 0.080, 0.055, 0.006], [0.001; 4]);
    let slow = Case { calls: calls.clone(), series: slow, ..base.clone() };
    assert_eq!(first(&slow), (CART, Kind::OwnTime));
    // Pay fails every fifth time, and those above with it.
    let failing = metrics([0.050, 0.030, 0.005, 0.006], [0.2, 0.2, 0.001, 0.2]);
    let failing = Case { calls, series: failing, ..base };
    assert_eq!(first(&failing), (PAY, Kind::Errors));
}

#[test]
fn the_unit_of_time_and_of_requests_does_not_matter_to_metrics() {
    let mut case = Case { calls: CALLS.to_vec(), ..case(Fault::default()) };
    case.series = metrics([0.150, 0.080, 0.055, 0.006], [0.001; 4]);
    let before = ranked(&case);
    for series in case.series.iter_mut().filter(|series| series.measure != Measure::Failures) {
        series.baseline.iter_mut().chain(&mut series.suspect).for_each(|value| *value *= 1024.0);
    }
    let order =
        |candidates: &[Candidate]| candidates.iter().map(|candidate| candidate.entity).collect::<Vec<_>>();
    assert_eq!(order(&before), order(&ranked(&case)));
}

#[test]
fn a_busy_processor_and_a_fresh_change_are_told() {
    let mut case = Case { baseline: Window::default(), suspect: Window::default(), ..case(Fault::default()) };
    case.series = (0..4)
        .map(|entity| flat(entity, Measure::Cpu, 0.10, if entity == PAY { 0.9 } else { 0.1 }))
        .collect();
    assert_eq!(first(&case), (PAY, Kind::Resources));
    case.series.clear();
    let change = |entity, seconds_before| Change { entity, seconds_before, what: "image 2".to_owned() };
    case.changes = vec![change(CART, 60.0), change(PAY, 3600.0), change(ORDER, -30.0)];
    let candidates = ranked(&case);
    assert_eq!((candidates[0].entity, candidates[1].entity), (CART, PAY));
    assert_eq!(candidates[0].evidence[0].text, "cart was changed 60 s before: image 2");
    assert!(candidates.iter().find(|candidate| candidate.entity == ORDER).unwrap().evidence.is_empty());
}

#[test]
fn what_the_symptom_does_not_call_counts_less() {
    let mut case = case(Fault { own: [0.0, 80.0, 0.0, 80.0], ..Fault::default() });
    case.symptom = Some(Symptom { entity: PAY, measure: None });
    // Without a call of pay's the graph says nothing about it.
    assert_eq!(ranked(&case).iter().filter(|candidate| candidate.score > 1.0).count(), 2);
    case.entities.push("ledger".to_owned());
    case.calls.push((PAY, 4));
    let score = |entity| ranked(&case).iter().find(|candidate| candidate.entity == entity).unwrap().score;
    assert!(score(PAY) > 2.0 * score(ORDER));
}

#[test]
fn any_signal_may_be_missing() {
    let fault = Fault { own: only(PAY, 80.0), line: Some(PAY), ..Fault::default() };
    let mut whole = case(fault);
    whole.series =
        (0..4).map(|entity| flat(entity, Measure::Cpu, 0.1, if entity == PAY { 0.9 } else { 0.1 })).collect();
    for left in 1..8_u8 {
        let mut case = whole.clone();
        for window in [&mut case.baseline, &mut case.suspect] {
            if left & 1 == 0 {
                window.spans.clear();
            }
            if left & 2 == 0 {
                window.logs.clear();
            }
        }
        if left & 4 == 0 {
            case.series.clear();
        }
        let candidates = ranked(&case);
        assert_eq!((candidates[0].entity, candidates.len()), (PAY, 4), "signals left: {left:03b}");
    }
    let nothing = Case { entities: whole.entities, ..Case::default() };
    assert!(ranked(&nothing).iter().all(|candidate| candidate.score == 0.0 && candidate.evidence.is_empty()));
    assert!(ranked(&Case::default()).is_empty());
}

#[test]
fn a_wrong_index_and_a_wrong_setting_are_named() {
    let mut case = case(Fault::default());
    assert_eq!(case.check(), Ok(()));
    case.calls.push((0, 9));
    let error = case.check().unwrap_err().to_string();
    assert_eq!(error, "call 0 names entity 9, but there are only 4: correct the index or leave it out");
    assert_eq!(CauseConfig::default().validate(), Ok(()));
    let config = CauseConfig { material_share: f64::NAN, ..CauseConfig::default() };
    assert!(config.validate().unwrap_err().to_string().starts_with("material_share is NaN"));
}

/// The same case with entities in another order and all lists shuffled; `places[old]` is the new index.
fn shuffled(case: &Case, seed: u64) -> (Case, Vec<usize>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut places: Vec<usize> = (0..case.entities.len()).collect();
    places.shuffle(&mut random);
    let mut other = case.clone();
    for (old, new) in places.iter().enumerate() {
        other.entities[*new] = format!("renamed {old}");
    }
    other.calls.iter_mut().for_each(|call| *call = (places[call.0], places[call.1]));
    other.calls.shuffle(&mut random);
    for window in [&mut other.baseline, &mut other.suspect] {
        window.spans.iter_mut().for_each(|span| span.entity = places[span.entity]);
        window.spans.shuffle(&mut random);
        window.logs.iter_mut().for_each(|log| log.entity = places[log.entity]);
        window.logs.shuffle(&mut random);
    }
    other.series.iter_mut().for_each(|series| series.entity = places[series.entity]);
    other.series.shuffle(&mut random);
    (other, places)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn names_and_order_do_not_change_the_ranking(seed in any::<u64>(), entity in 0_usize..4, what in 0..6) {
        let fault = match what {
            0 => Fault { own: only(entity, 80.0), ..Fault::default() },
            1 => Fault { to: only(entity, 80.0), ..Fault::default() },
            2 => Fault { fails: Some(entity), ..Fault::default() },
            3 => Fault { stops: Some(entity), ..Fault::default() },
            4 => Fault { line: Some(entity), ..Fault::default() },
            _ => Fault::default(),
        };
        let mut case = case(fault);
        case.calls = CALLS.to_vec();
        case.series = metrics([0.150, 0.080, 0.055, 0.006], [0.001, 0.2, 0.001, 0.3]);
        let (other, places) = shuffled(&case, seed);
        let before: Vec<(usize, f64)> = ranked(&case).iter().map(|one| (places[one.entity], one.score)).collect();
        let after: Vec<(usize, f64)> = ranked(&other).iter().map(|one| (one.entity, one.score)).collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn any_input_gives_every_entity_once_with_a_finite_score(
        entities in 0_usize..6,
        spans in prop::collection::vec(
            (0_u64..3, 0_u64..12, prop::option::of(0_u64..12), 0_usize..7, any::<f64>(), any::<f64>(), any::<bool>()),
            0..40,
        ),
        logs in prop::collection::vec((0_usize..7, 0_usize..4, any::<u32>(), any::<f64>()), 0..30),
        values in prop::collection::vec((0_usize..7, 0_usize..5, prop::collection::vec(any::<f64>(), 0..6)), 0..20),
        calls in prop::collection::vec((0_usize..7, 0_usize..7), 0..20),
        symptom in prop::option::of(0_usize..7),
    ) {
        let measures = [Measure::Latency, Measure::Requests, Measure::Failures, Measure::Cpu, Measure::Memory];
        let spans: Vec<Span> = (spans.into_iter())
            .map(|(trace, id, parent, entity, start, duration, error)| {
                Span { trace, id, parent, entity, operation: entity % 3, start, duration, error }
            })
            .collect();
        let logs: Vec<Log> = (logs.into_iter())
            .map(|(entity, template, count, at)| Log { entity, template, count, at, span: Some((0, entity as u64)) })
            .collect();
        let (some_spans, some_logs) = (spans[..spans.len() / 2].to_vec(), logs[..logs.len() / 2].to_vec());
        let case = Case {
            entities: (0..entities).map(|entity| format!("entity {entity}")).collect(),
            operations: vec!["a".to_owned(), "b".to_owned()],
            templates: vec![Template::default(), Template { text: "no".to_owned(), error: true }],
            calls,
            symptom: symptom.map(|entity| Symptom { entity, measure: None }),
            baseline: Window { spans: some_spans, logs: some_logs },
            suspect: Window { spans, logs },
            series: (values.into_iter())
                .map(|(entity, measure, values)| {
                    let (baseline, suspect) = values.split_at(values.len() / 2);
                    let (baseline, suspect) = (baseline.to_vec(), suspect.to_vec());
                    Series { entity, measure: measures[measure], baseline, suspect }
                })
                .collect(),
            changes: vec![Change { entity: 9, seconds_before: f64::NAN, what: String::new() }],
        };
        let candidates = ranked(&case);
        let mut seen: Vec<usize> = candidates.iter().map(|candidate| candidate.entity).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..entities).collect::<Vec<_>>());
        prop_assert!(candidates.iter().all(|candidate| candidate.score.is_finite() && candidate.score >= 0.0));
        prop_assert!(candidates.is_sorted_by(|a, b| a.score >= b.score));
        prop_assert_eq!(&candidates, &ranked(&case));
    }
}
