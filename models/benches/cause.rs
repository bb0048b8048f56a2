//! How long a ranking takes: 50 services with 20 thousand spans, and 5,000 nodes with a million.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use homeostat_models::cause::{Case, CauseConfig, Log, Measure, Series, Span, Template, Window, rank};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// Traces of ten visits in a chain, each called through a client span. Every entity has three callees; one entity is
/// slow in the suspect window.
fn window(entities: usize, spans: usize, slow: Option<usize>, random: &mut ChaCha8Rng) -> Window {
    const VISITS: u64 = 10;
    let mut window = Window::default();
    while window.spans.len() < spans {
        let trace = window.spans.len() as u64;
        let mut chain = vec![random.random_range(0..entities)];
        for _ in 1..VISITS {
            let caller = chain[chain.len() - 1];
            chain.push((caller * 7 + 1 + random.random_range(0..3)) % entities);
        }
        // From the deepest visit up: each takes its own time and that of what it calls.
        let mut inside = 0.0;
        for (depth, &entity) in chain.iter().enumerate().rev() {
            let caller = depth.checked_sub(1).map(|above| chain[above]);
            let depth = depth as u64;
            let own = random.random_range(0.004..0.006) + if slow == Some(entity) { 0.2 } else { 0.0 };
            let (start, duration) = (trace as f64 + 0.002 * depth as f64, own + inside);
            let span = |id, parent, entity, operation, start, duration| Span {
                trace,
                id,
                parent,
                entity,
                operation,
                start,
                duration,
                error: false,
            };
            let client = (depth > 0).then_some(100 + depth);
            window.spans.push(span(depth, client, entity, entity % 3, start, duration));
            if let Some(caller) = caller {
                inside = duration + 0.001;
                window.spans.push(span(100 + depth, Some(depth - 1), caller, 3, start - 0.0005, inside));
            }
            let (template, span) = (entity % 200, Some((trace, depth)));
            window.logs.push(Log { entity, template, count: 1, span, at: start });
        }
    }
    window
}

fn case(entities: usize, spans: usize) -> Case {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let flat = |entity, measure, random: &mut ChaCha8Rng| Series {
        entity,
        measure,
        baseline: (0..60).map(|_| 0.1 + 0.01 * random.random::<f64>()).collect(),
        suspect: vec![0.1; 3],
    };
    let mut case = Case {
        entities: (0..entities).map(|entity| format!("service-{entity}")).collect(),
        operations: (0..4).map(|operation| format!("operation-{operation}")).collect(),
        templates: (0..200)
            .map(|template| Template { text: format!("line {template}"), error: false })
            .collect(),
        baseline: window(entities, spans / 2, None, &mut random),
        suspect: window(entities, spans / 2, Some(entities / 20), &mut random),
        ..Case::default()
    };
    for entity in 0..entities {
        for measure in [Measure::Latency, Measure::Requests, Measure::Failures, Measure::Cpu, Measure::Memory]
        {
            case.series.push(flat(entity, measure, &mut random));
        }
    }
    case
}

fn benches(criterion: &mut Criterion) {
    let config = CauseConfig::default();
    let mut group = criterion.benchmark_group("cause");
    group.sample_size(10);
    for (entities, spans) in [(50, 20_000), (5_000, 1_000_000)] {
        let case = case(entities, spans);
        assert_eq!(rank(&case, &config)[0].entity, entities / 20);
        group.bench_function(format!("{entities} entities, {spans} spans"), |bencher| {
            bencher.iter(|| rank(black_box(&case), &config));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
