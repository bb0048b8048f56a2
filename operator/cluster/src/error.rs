//! What can go wrong with the API server, sorted by what the caller should do about it.

use homeostat_knowledge::Name;
use kube::core::Status;
use std::time::Duration;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// The object is malformed or contradictory; a person must change it.
    Invalid,
    /// The server asks to wait (a `PodDisruptionBudget`, throttling); try later, never around it.
    Waiting,
    /// The world is not as assumed (other UID, other version, gone); read again and decide again.
    Conflict,
    /// No or no useful answer; try again with back-off. The request may have had an effect.
    Transient,
    /// The API server does not let us; rights or credentials must change.
    Denied,
    /// We asked for something impossible or did not understand the answer.
    Bug,
}

impl Category {
    /// The name as used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Waiting => "Waiting",
            Self::Conflict => "Conflict",
            Self::Transient => "Transient",
            Self::Denied => "Denied",
            Self::Bug => "Bug",
        }
    }
}

/// An API call, or the understanding of what it answered, failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The object cannot be used.
    #[error("{object} is not valid: {message}; correct it and apply it again")]
    Invalid {
        /// Kind and name.
        object: Name,
        /// Field and reason.
        message: String,
    },
    /// Nothing says how to reach a cluster, or it cannot be used.
    #[error(
        "no connection to a cluster: {message}; outside of one, KUBECONFIG or ~/.kube/config must name a file that \
         `kubectl get nodes` works with; inside one, the pod needs its service account"
    )]
    NoCluster {
        /// What was tried.
        message: String,
    },
    /// The server asks to wait.
    #[error("{verb} {object}: the API server asks to wait: {message}")]
    Waiting {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
        /// As told by the server, e.g. the disruption budget's answer.
        message: String,
        /// `Retry-After`, when it was said.
        after: Option<Duration>,
        /// A `PodDisruptionBudget` says so, not the server's own load.
        by_budget: bool,
    },
    /// Another version or another object of the same name.
    #[error("{verb} {object}: changed meanwhile: {message}")]
    Conflict {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
        /// As told by the server.
        message: String,
    },
    /// An object of this name is there already.
    #[error("{verb} {object}: exists already")]
    Exists {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
    },
    /// The object, or its kind, is not there.
    #[error("{verb} {object}: not found; was it deleted, are the resource definitions installed?")]
    NotFound {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
    },
    /// No or no useful answer.
    #[error("{verb} {object}: no answer from the API server: {message}")]
    Transient {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
        /// What was seen instead.
        message: String,
        /// The request surely did not reach the server (nothing to find out, may be repeated).
        unsent: bool,
    },
    /// Not allowed.
    #[error("{verb} {object}: refused by the API server: {message}; check the role bindings and credentials")]
    Denied {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
        /// As told by the server.
        message: String,
    },
    /// The request or the answer makes no sense.
    #[error("{verb} {object}: {message}; please report this")]
    Bug {
        /// Verb of the call.
        verb: &'static str,
        /// Kind and name.
        object: Name,
        /// What was wrong.
        message: String,
    },
}

impl ClusterError {
    /// Sorts a client error of one call.
    pub fn from_kube(verb: &'static str, object: &Name, error: &kube::Error) -> Self {
        let object = object.clone();
        match error {
            kube::Error::Api(status) => Self::from_status(verb, object, status),
            kube::Error::SerdeError(why) => {
                Self::Bug { verb, object, message: format!("the answer was not understood: {why}") }
            }
            kube::Error::BuildRequest(why) => {
                Self::Bug { verb, object, message: format!("the request could not be built: {why}") }
            }
            kube::Error::Auth(why) => Self::Denied { verb, object, message: why.to_string() },
            other => {
                let message = chain(other);
                let unsent = message.contains("Connection refused") || message.contains("dns error");
                Self::Transient { verb, object, message, unsent }
            }
        }
    }

    fn from_status(verb: &'static str, object: Name, status: &Status) -> Self {
        let message = status.message.clone();
        let after = status
            .details
            .as_ref()
            .map(|details| details.retry_after_seconds)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(u64::from(seconds)));
        match status.code {
            404 => Self::NotFound { verb, object },
            409 if status.reason == "AlreadyExists" => Self::Exists { verb, object },
            // 412: a precondition of a delete or an eviction did not hold.
            409 | 410 | 412 => Self::Conflict { verb, object, message },
            429 => {
                let mut causes = status.details.iter().flat_map(|details| &details.causes);
                let budget = causes.find(|cause| cause.reason == "DisruptionBudget");
                let message = match budget {
                    Some(cause) if !cause.message.is_empty() => format!("{message} {}", cause.message),
                    _ => message,
                };
                Self::Waiting { verb, object, message, after, by_budget: budget.is_some() }
            }
            401 | 403 => Self::Denied { verb, object, message },
            422 => Self::Invalid { object, message: both_ends(&message) },
            400..=499 => Self::Bug { verb, object, message },
            _ => Self::Transient { verb, object, message, unsent: false },
        }
    }

    /// No answer within the time that one call may take.
    pub fn timeout(verb: &'static str, object: &Name, limit: Duration) -> Self {
        let message = format!("none within {} s", limit.as_secs_f64());
        Self::Transient { verb, object: object.clone(), message, unsent: false }
    }

    /// The same error of a read that comes before an effect: nothing was sent that could have changed anything.
    #[must_use]
    pub(crate) fn before_the_effect(mut self) -> Self {
        if let Self::Transient { unsent, .. } = &mut self {
            *unsent = true;
        }
        self
    }

    /// What the caller should do.
    pub fn category(&self) -> Category {
        match self {
            Self::Invalid { .. } | Self::NoCluster { .. } => Category::Invalid,
            Self::Waiting { .. } => Category::Waiting,
            Self::Conflict { .. } | Self::Exists { .. } | Self::NotFound { .. } => Category::Conflict,
            Self::Transient { .. } => Category::Transient,
            Self::Denied { .. } => Category::Denied,
            Self::Bug { .. } => Category::Bug,
        }
    }

    /// The API server's store has no room: it takes no writes until people make some. Etcd words it so, and the API server
    /// passes it on with the code of an error of its own.
    pub fn store_full(&self) -> bool {
        matches!(self, Self::Transient { message, .. } if message.contains("database space exceeded"))
    }

    /// The call may have had its effect although it failed: find out by reading, never by sending again.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Transient { unsent: false, .. })
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        next = cause.source();
    }
    text
}

/// Longest refusal that is told whole.
const WHOLE: usize = 512;

/// A refusal names the field, repeats its whole value, and only then says what is wrong with it. Of a long one both
/// ends are told.
fn both_ends(message: &str) -> String {
    let count = message.chars().count();
    if count <= WHOLE {
        return message.to_owned();
    }
    let head: String = message.chars().take(WHOLE / 2).collect();
    let tail: String = message.chars().skip(count - WHOLE / 2).collect();
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn api(code: u16, reason: &str, seconds: u32) -> ClusterError {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure", "code": code, "reason": reason, "message": "said so",
            "details": { "retryAfterSeconds": seconds },
        }))
        .unwrap();
        ClusterError::from_kube("evict", &Name::from("Pod a/b"), &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn answers_are_sorted_by_what_to_do() {
        for (code, reason, category, unknown) in [
            (400, "BadRequest", Category::Bug, false),
            (401, "Unauthorized", Category::Denied, false),
            (403, "Forbidden", Category::Denied, false),
            (404, "NotFound", Category::Conflict, false),
            (409, "Conflict", Category::Conflict, false),
            (409, "AlreadyExists", Category::Conflict, false),
            (410, "Expired", Category::Conflict, false),
            (422, "Invalid", Category::Invalid, false),
            (429, "TooManyRequests", Category::Waiting, false),
            (500, "InternalError", Category::Transient, true),
            (503, "ServiceUnavailable", Category::Transient, true),
            (504, "Timeout", Category::Transient, true),
        ] {
            let error = api(code, reason, 0);
            assert_eq!(error.category(), category, "{code} {reason}");
            assert_eq!(error.outcome_unknown(), unknown, "{code} {reason}");
        }
        assert!(matches!(api(409, "AlreadyExists", 0), ClusterError::Exists { .. }));
    }

    #[test]
    fn what_is_wrong_with_a_long_value_is_told() {
        let value = "{\"Name\":\"run\"}".repeat(500);
        let message =
            format!("Job \"a\" is invalid: spec.template: Invalid value: {value}: field is immutable");
        let status: Status = serde_json::from_value(json!({ "code": 422, "message": message })).unwrap();
        let error = kube::Error::Api(Box::new(status));
        let told = ClusterError::from_kube("patch", &Name::from("Job a/b"), &error).to_string();
        assert!(told.contains("spec.template: Invalid value: ") && told.contains(": field is immutable"));
        assert!(told.chars().count() < 1_000, "short enough for an Action: {told}");
    }

    #[test]
    fn a_wait_is_told_with_its_length() {
        let ClusterError::Waiting { after, .. } = api(429, "TooManyRequests", 7) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
        let ClusterError::Waiting { after, .. } = api(429, "TooManyRequests", 0) else { panic!() };
        assert_eq!(after, None);
    }

    #[test]
    fn a_time_out_may_have_had_its_effect() {
        let error = ClusterError::timeout("evict", &Name::from("Pod a/b"), Duration::from_secs(5));
        assert!(error.outcome_unknown());
        assert_eq!(error.to_string(), "evict Pod a/b: no answer from the API server: none within 5 s");
    }
}
