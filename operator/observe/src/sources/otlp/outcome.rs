//! How a call ended, from what OpenTelemetry's semantic conventions put on a span.

use crate::sources::names::cut;
use homeostat_knowledge::{CallOutcome, SpanKind};

/// What a span says about its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'a> {
    /// Status is `Error`.
    pub error: bool,
    /// Status message.
    pub message: &'a str,
    /// `http.response.status_code`, 0 when absent.
    pub http: i64,
    /// `rpc.response.status_code` or `rpc.grpc.status_code`.
    pub grpc: Option<i64>,
    /// `error.type`.
    pub error_type: &'a str,
}

/// The outcome of a call. For a client the transport's failure counts before the status code, because the code
/// of a broken answer may have arrived before it broke; for a server it is the other way round, because the
/// failure of a call that it made itself is not how its own answer ended.
pub fn outcome(kind: SpanKind, end: &End<'_>) -> CallOutcome {
    let failure = failure(end.error_type);
    let code = by_http(kind, end.http).or_else(|| end.grpc.map(|code| by_grpc(kind, code)));
    match kind {
        SpanKind::Server => match failure {
            Some(CallOutcome::Cancelled) => CallOutcome::Cancelled,
            _ => code.or(failure).unwrap_or_else(|| without_code(end)),
        },
        SpanKind::Client | SpanKind::Other => failure.or(code).unwrap_or_else(|| without_code(end)),
    }
}

fn without_code(end: &End<'_>) -> CallOutcome {
    if end.error || !end.error_type.is_empty() {
        self::failure(end.message).unwrap_or(CallOutcome::ServerError)
    } else {
        CallOutcome::Ok
    }
}

/// A transport failure by the words that languages and libraries use for it.
fn failure(words: &str) -> Option<CallOutcome> {
    const WORDS: [(&str, CallOutcome); 12] = [
        ("timeout", CallOutcome::Timeout),
        ("timed out", CallOutcome::Timeout),
        ("timedout", CallOutcome::Timeout),
        ("deadline", CallOutcome::Timeout),
        ("refused", CallOutcome::Refused),
        ("unreach", CallOutcome::Refused),
        ("reset", CallOutcome::Reset),
        ("broken", CallOutcome::Reset),
        ("closed", CallOutcome::Reset),
        ("eof", CallOutcome::Reset),
        ("epipe", CallOutcome::Reset),
        ("cancel", CallOutcome::Cancelled),
    ];
    if words.is_empty() {
        return None;
    }
    let words = cut(words, 256).to_ascii_lowercase();
    WORDS.into_iter().find(|(word, _)| words.contains(word)).map(|(_, outcome)| outcome)
}

fn by_http(kind: SpanKind, code: i64) -> Option<CallOutcome> {
    match code {
        100..400 => Some(CallOutcome::Ok),
        400..500 if kind == SpanKind::Server => Some(CallOutcome::Ok),
        400..500 => Some(CallOutcome::Rejected),
        500..600 => Some(CallOutcome::ServerError),
        _ => None,
    }
}

/// Which codes are the server's fault: OpenTelemetry semantic conventions, "gRPC status".
fn by_grpc(kind: SpanKind, code: i64) -> CallOutcome {
    match (code, kind) {
        (1, _) => CallOutcome::Cancelled,
        (4, SpanKind::Client) => CallOutcome::Timeout,
        (2 | 4 | 12 | 13 | 14 | 15, _) => CallOutcome::ServerError,
        (0, _) | (_, SpanKind::Server) => CallOutcome::Ok,
        _ => CallOutcome::Rejected,
    }
}

/// The number of a gRPC status code by its name, as `rpc.response.status_code` gives it.
pub fn grpc_code(name: &str) -> Option<i64> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.iter().position(|known| *known == name).map(|code| code as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(error_type: &str, http: i64) -> CallOutcome {
        outcome(
            SpanKind::Client,
            &End { error: http >= 400 || http == 0, http, error_type, ..End::default() },
        )
    }

    #[test]
    fn a_client_tells_transport_failures_by_name() {
        assert_eq!(client("timeout", 0), CallOutcome::Timeout);
        assert_eq!(client("DEADLINE_EXCEEDED", 0), CallOutcome::Timeout);
        assert_eq!(client("java.net.SocketTimeoutException", 0), CallOutcome::Timeout);
        assert_eq!(client("connection_refused", 0), CallOutcome::Refused);
        assert_eq!(client("ECONNREFUSED", 0), CallOutcome::Refused);
        assert_eq!(client("EHOSTUNREACH", 0), CallOutcome::Refused);
        assert_eq!(client("connection_reset", 0), CallOutcome::Reset);
        assert_eq!(client("BrokenPipe", 0), CallOutcome::Reset);
        assert_eq!(client("unexpected EOF", 200), CallOutcome::Reset);
        assert_eq!(client("cancelled", 0), CallOutcome::Cancelled);
        assert_eq!(client("connection_error", 0), CallOutcome::ServerError);
    }

    #[test]
    fn status_codes_are_read_from_the_side_of_the_span() {
        assert_eq!(client("500", 500), CallOutcome::ServerError);
        assert_eq!(client("404", 404), CallOutcome::Rejected);
        assert_eq!(client("", 200), CallOutcome::Ok);
        let server = |http, error_type| {
            outcome(SpanKind::Server, &End { error: http >= 500, http, error_type, ..End::default() })
        };
        assert_eq!(server(404, ""), CallOutcome::Ok);
        assert_eq!(server(503, "timeout"), CallOutcome::ServerError);
        assert_eq!(server(200, "cancelled"), CallOutcome::Cancelled);
    }

    #[test]
    fn grpc_codes_count_only_when_they_are_the_callees_fault() {
        let by = |kind, code: &str| {
            outcome(kind, &End { error: code != "OK", grpc: grpc_code(code), ..End::default() })
        };
        assert_eq!(by(SpanKind::Client, "OK"), CallOutcome::Ok);
        assert_eq!(by(SpanKind::Client, "DEADLINE_EXCEEDED"), CallOutcome::Timeout);
        assert_eq!(by(SpanKind::Client, "NOT_FOUND"), CallOutcome::Rejected);
        assert_eq!(by(SpanKind::Server, "NOT_FOUND"), CallOutcome::Ok);
        assert_eq!(by(SpanKind::Server, "UNAVAILABLE"), CallOutcome::ServerError);
    }

    #[test]
    fn a_bare_error_is_read_from_its_message_or_blamed_on_the_callee() {
        let bare = |message| outcome(SpanKind::Client, &End { error: true, message, ..End::default() });
        assert_eq!(bare("tcp connect error: Connection refused (os error 111)"), CallOutcome::Refused);
        assert_eq!(bare("it did not work"), CallOutcome::ServerError);
        assert_eq!(outcome(SpanKind::Server, &End::default()), CallOutcome::Ok);
    }
}
