//! Where a message goes and what an answer means. Pure; the address itself is never in an error, a log line or a page.

use homeostat_knowledge::{SignedDuration, Timestamp};
use reqwest::Url;
use std::net::IpAddr;

/// Bytes of an address.
const MOST_BYTES: usize = 4_096;

/// Why a route does not work. The words are all that is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The file of the key cannot be read.
    #[error(
        "the key of its Secret is not there; list the Secret in notify.secrets of the chart, and see that it has the key"
    )]
    NoKey,
    /// The address is of no use.
    #[error(
        "its address cannot be used; it must be https, or http to a loopback address or a Service (NAME.NAMESPACE.svc)"
    )]
    Address,
    /// There is nothing to send with.
    #[error("no connection can be made at all; see that the image has root certificates")]
    NoClient,
    /// Somebody else shall be told.
    #[error(
        "its receiver redirects (status {0}), which is not followed; put the address that it means into the Secret"
    )]
    Redirected(u16),
    /// The receiver does not want it.
    #[error(
        "its receiver refuses messages (status {0}); see whether the address in the Secret still holds and the kind fits it"
    )]
    Refused(u16),
    /// No answer.
    #[error("its receiver did not answer in time; see whether it is up")]
    Silent,
    /// No connection.
    #[error(
        "its receiver cannot be reached; see its name, its certificate and networkPolicy.extraEgress of the chart"
    )]
    Unreachable,
    /// It has trouble of its own.
    #[error("its receiver has trouble of its own (status {0}); see whether it is up")]
    Failing(u16),
}

impl Trouble {
    /// Nothing was sent: it shows without a message too.
    pub fn before_sending(self) -> bool {
        matches!(self, Self::NoKey | Self::Address | Self::NoClient)
    }
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Taken,
    /// It may be taken later.
    Later {
        /// Why not now.
        trouble: Trouble,
        /// How long the receiver asks to be left alone.
        wait: Option<SignedDuration>,
    },
    /// No try will help until a person has mended it.
    Unusable(Trouble),
}

/// The address that a file holds: https, or http to where nobody outside of the cluster listens.
pub fn usable(text: &str) -> Option<Url> {
    let text = text.trim();
    if text.len() > MOST_BYTES {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let ends = |end: &str| host.strip_suffix(end).is_some_and(|name| !name.is_empty());
    let loopback = |address: IpAddr| address.is_loopback();
    let inside =
        host.parse().is_ok_and(loopback) || host == "localhost" || ends(".svc") || ends(".svc.cluster.local");
    (url.scheme() == "https" || (url.scheme() == "http" && inside)).then_some(url)
}

/// What a status means; `retry_after` is the header's text.
pub fn judge(status: u16, retry_after: Option<&str>, now: Timestamp) -> Answer {
    let wait = retry_after.and_then(|text| pause(text, now));
    match status {
        200..=299 => Answer::Taken,
        300..=399 => Answer::Unusable(Trouble::Redirected(status)),
        429 | 500.. => Answer::Later { trouble: Trouble::Failing(status), wait },
        _ => Answer::Unusable(Trouble::Refused(status)),
    }
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
fn pause(text: &str, now: Timestamp) -> Option<SignedDuration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(SignedDuration::from_secs(i64::from(seconds)));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(at.duration_since(now)).filter(SignedDuration::is_positive)
}
