//! A collector that keeps what it is sent.
#![allow(dead_code, reason = "shared by a test and an example")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]
#![allow(clippy::disallowed_methods, reason = "tests wait on the real clock")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;

/// A span in the words of the tests.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub kind: i32,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    pub failed: bool,
    attributes: Vec<KeyValue>,
    resource: Vec<KeyValue>,
}

impl Span {
    /// The attribute as text; empty when it is missing.
    pub fn attribute(&self, key: &str) -> String {
        text(&self.attributes, key)
    }

    pub fn resource(&self, key: &str) -> String {
        text(&self.resource, key)
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    attributes.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.as_ref()).map_or(String::new(), plain)
}

fn plain(value: &AnyValue) -> String {
    match &value.value {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    span_count: usize,
    metrics: Vec<String>,
    logs: Vec<String>,
}

/// The collector; lives as long as the test's runtime.
#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    counting: bool,
}

impl Sink {
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    /// Counts spans and forgets them.
    pub async fn start_counting() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(counting: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Self { address, kept: Arc::default(), counting };
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(sink.clone()))
                .add_service(MetricsServiceServer::new(sink.clone()))
                .add_service(LogsServiceServer::new(sink.clone()))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        sink
    }

    pub fn span_count(&self) -> usize {
        self.kept.lock().unwrap().span_count
    }

    /// All spans, once they fit.
    pub async fn wait(&self, fits: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        self.until(|kept| fits(&kept.spans).then(|| kept.spans.clone())).await
    }

    pub async fn wait_for_metric(&self, name: &str) {
        self.until(|kept| kept.metrics.iter().any(|metric| metric == name).then_some(())).await;
    }

    pub async fn wait_for_log(&self, part: &str) {
        self.until(|kept| kept.logs.iter().any(|log| log.contains(part)).then_some(())).await;
    }

    async fn until<T>(&self, find: impl Fn(&Kept) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            {
                let kept = self.kept.lock().unwrap();
                if let Some(found) = find(&kept) {
                    return found;
                }
                assert!(Instant::now() < end, "never came: {:#?} {:#?}", kept.spans, kept.logs);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.kept.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|r| r.attributes).unwrap_or_default();
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                kept.span_count += 1;
                if self.counting {
                    continue;
                }
                kept.spans.push(Span {
                    service: text(&attributes, "service.name"),
                    name: span.name,
                    kind: span.kind,
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    failed: span.status.is_some_and(|status| status.code == 2),
                    attributes: span.attributes,
                    resource: attributes.clone(),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let names = request
            .into_inner()
            .resource_metrics
            .into_iter()
            .flat_map(|resource| resource.scope_metrics)
            .flat_map(|scope| scope.metrics)
            .map(|metric| metric.name);
        let mut kept = self.kept.lock().unwrap();
        for name in names {
            if !kept.metrics.contains(&name) {
                kept.metrics.push(name);
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let bodies = request
            .into_inner()
            .resource_logs
            .into_iter()
            .flat_map(|resource| resource.scope_logs)
            .flat_map(|scope| scope.log_records)
            .filter_map(|record| record.body.as_ref().map(plain));
        self.kept.lock().unwrap().logs.extend(bodies);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
