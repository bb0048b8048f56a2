//! How far this replica's clock is off that of the API server. Cool-downs, windows, approvals and budgets are times: a
//! replica with another clock than the one before it would end them early.

use homeostat_knowledge::{SignedDuration, Timestamp};

/// A clock that is off by more does nothing.
pub const LIMIT: SignedDuration = SignedDuration::from_secs(2);
/// Resolution of the time in an answer (`Date`, RFC 9110 section 5.6.7).
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);
/// The clock of a replica that acted and one that is [`right`] differ by less: the guard took the first for right within
/// [`LIMIT`], by an answer that may have been 5 s on its way and is cut off to a second.
pub const BETWEEN: SignedDuration = SignedDuration::from_secs(10);

/// How far the own clock is ahead of the server's (behind: negative) for sure, when a request was asked at `asked`, its
/// answer was here at `answered`, and the server wrote `server` into it, cut off to whole seconds. Zero when both clocks
/// may be the same: neither the time on the way nor the part of a second is ever counted against a clock.
pub fn proven(asked: Timestamp, answered: Timestamp, server: Timestamp) -> SignedDuration {
    let ahead = asked.duration_since(server) - RESOLUTION;
    let behind = server.duration_since(answered);
    if ahead.is_positive() {
        ahead
    } else if behind.is_positive() {
        -behind
    } else {
        SignedDuration::ZERO
    }
}

/// The same answer proves that the own clock is off by no more than [`LIMIT`]. A slow answer proves nothing.
pub fn right(asked: Timestamp, answered: Timestamp, server: Timestamp) -> bool {
    answered.duration_since(server) <= LIMIT && server.duration_since(asked) + RESOLUTION <= LIMIT
}

/// Too far off to act.
pub(crate) fn too_far(off: SignedDuration) -> bool {
    off > LIMIT || off < -LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn only_what_no_delay_explains_counts_as_skew() {
        // (asked, answered, server) in seconds; how far ahead, and whether that is too far.
        for (asked, answered, server, off, far) in [
            (100, 100, 100, 0, false),
            (100, 105, 103, 0, false), // A slow answer.
            (101, 101, 100, 0, false), // The rest of a second.
            (103, 103, 100, 2, false),
            (104, 104, 100, 3, true),
            (400, 401, 100, 299, true),
            (100, 100, 102, -2, false),
            (100, 100, 103, -3, true),
            (100, 105, 108, -3, true),
            (100, 101, 400, -299, true),
        ] {
            let found = proven(at(asked), at(answered), at(server));
            assert_eq!(found, SignedDuration::from_secs(off), "{asked} {answered} {server}");
            assert_eq!(too_far(found), far, "{asked} {answered} {server}");
        }
    }

    #[test]
    fn only_a_quick_answer_proves_that_a_clock_is_right() {
        // (asked, answered, server) in seconds.
        for (asked, answered, server, proved) in [
            (100, 100, 100, true),
            (101, 101, 100, true), // The rest of a second.
            (100, 102, 101, true),
            (100, 105, 103, false), // A slow answer: the server may have written it at any time in between.
            (103, 103, 100, false),
            (100, 100, 102, false),
        ] {
            assert_eq!(right(at(asked), at(answered), at(server)), proved, "{asked} {answered} {server}");
        }
    }
}
