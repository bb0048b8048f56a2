//! Cost of the multivariate detector: rows per second of a machine with 38 dimensions, scoring, level and alarm included.

#![allow(missing_docs, reason = "the macros of the bench make undocumented items")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use homeostat_models::detect::{MultivariateConfig, MultivariateDetector};

const DIMS: usize = 38;
const ROWS: usize = 4_096;

/// One pass over the rows of a warm detector; elements are dimension values.
pub fn multivariate(criterion: &mut Criterion) {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64) / ((1_u64 << 53) as f64)
    };
    let rows: Vec<Vec<f64>> = (0..ROWS).map(|_| (0..DIMS).map(|_| noise()).collect()).collect();
    let mut detector =
        MultivariateDetector::new(DIMS, MultivariateConfig::default()).expect("a valid setting");
    let bytes = detector.state_bytes();
    println!("multivariate: {bytes} bytes for {DIMS} dimensions, {} a dimension", bytes / DIMS);

    let mut group = criterion.benchmark_group("multivariate");
    group.throughput(Throughput::Elements((ROWS * DIMS) as u64));
    group.bench_function("observe", |bencher| {
        bencher.iter(|| {
            for row in &rows {
                black_box(detector.observe(black_box(row)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, multivariate);
criterion_main!(benches);
