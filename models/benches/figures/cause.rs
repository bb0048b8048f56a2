//! How long a ranking takes: 50 services with 20 thousand spans, and 5,000 nodes with a million.

use super::{Row, rate};
use homeostat_models::cause::{Case, CauseConfig, Log, Measure, Series, Span, Template, Window, rank};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

/// Traces of ten visits, each with its client span, over random entities; one entity is slow in the suspect half.
fn window(entities: usize, spans: usize, slow: Option<usize>, random: &mut ChaCha8Rng) -> Window {
    let mut window = Window::default();
    while window.spans.len() < spans {
        let trace = window.spans.len() as u64;
        let mut start = trace as f64;
        let mut caller: Option<(u64, usize)> = None;
        for depth in 0..10_u64 {
            // Half of the calls go to a few busy entities, as in real systems.
            let entity = if random.random_bool(0.5) {
                random.random_range(0..entities)
            } else {
                random.random_range(0..entities / 10)
            };
            let late = if slow == Some(entity) { 0.2 } else { 0.0 };
            let duration = 0.5 - 0.05 * depth as f64 + late;
            let mut parent = None;
            if let Some((id, from)) = caller {
                let client = Span {
                    trace,
                    id: 100 + depth,
                    parent: Some(id),
                    entity: from,
                    operation: 3,
                    start,
                    duration: duration + 0.002,
                    error: false,
                };
                parent = Some(client.id);
                window.spans.push(client);
            }
            let operation = random.random_range(0..3);
            window.spans.push(Span {
                trace,
                id: depth,
                parent,
                entity,
                operation,
                start: start + 0.001,
                duration,
                error: false,
            });
            let template = entity % 200;
            window.logs.push(Log { entity, template, count: 1, span: Some((trace, depth)), at: start });
            caller = Some((depth, entity));
            start += 0.002;
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

pub fn rows() -> Vec<Row> {
    let config = CauseConfig::default();
    let cases = [
        ("50 services", 50, 20_000, 1.0, 0.05),
        ("5,000 nodes, a million spans", 5_000, 1_000_000, 10.0, 2.0),
    ];
    cases
        .into_iter()
        .map(|(name, entities, spans, floor, goal)| {
            let case = case(entities, spans);
            let seconds = 1.0
                / rate(|| {
                    black_box(rank(black_box(&case), &config));
                    1
                });
            Row::new(format!("cause, {name}"), seconds, "s").at_most(floor, goal)
        })
        .collect()
}
