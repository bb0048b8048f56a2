//! What can be done to a request on its way, and the memory of what was done.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::request::Request;

/// Longer than one call of the process under test may take.
pub const LONGER_THAN_A_CALL: Duration = Duration::from_millis(5_500);
/// A delay that a busy API server may have.
pub const SLOW: Duration = Duration::from_millis(700);

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Fault {
    /// The process is killed, and the request never reaches the API server.
    CrashBefore,
    /// The request reaches the API server, and the process is killed before it gets the answer.
    CrashReplyLost,
    /// The process gets the answer and is killed at once.
    CrashAfter,
    /// As [`Fault::CrashReplyLost`]; the next process is shown the lists as they were before.
    CrashThenStaleLists,
    /// The connection breaks before the request was sent on.
    Cut,
    /// The request reaches the API server, and the connection breaks before the answer.
    ReplyLost,
    /// No answer within the time that a call may take; the request never reached the API server.
    HangsLost,
    /// No answer within the time that a call may take; the request had its effect.
    HangsDone,
    /// The answer comes late.
    Slow,
    /// The API server is said to have too many requests.
    TooMany,
    /// The API server is said to have failed.
    ServerError,
    /// The API server is said not to be there.
    Unavailable,
    /// Somebody is said to have changed the object.
    Conflict,
    /// Every open watch ends without a word, and the request is sent on.
    WatchesCut,
    /// A read is answered as the same read was answered before.
    Stale,
}

impl Fault {
    /// Kills the process.
    pub fn kills(self) -> bool {
        matches!(
            self,
            Self::CrashBefore | Self::CrashReplyLost | Self::CrashAfter | Self::CrashThenStaleLists
        )
    }
}

/// A fault for the n-th request of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rule {
    /// Which requests.
    pub request: Request,
    /// Which of them, from 1, counted over all lives of the process.
    pub nth: u32,
    /// What is done to it.
    pub fault: Fault,
}

/// Rules that wait, and what has struck.
#[derive(Debug, Default)]
pub struct Rules {
    waiting: Vec<Rule>,
    counts: BTreeMap<Request, u32>,
    struck: u32,
}

impl Rules {
    /// These rules, none of which has struck.
    pub fn new(waiting: Vec<Rule>) -> Self {
        Self { waiting, ..Self::default() }
    }

    /// Counts a request and says what is to be done to it.
    pub fn meet(&mut self, request: Request) -> Option<Fault> {
        let count = self.counts.entry(request).or_default();
        *count += 1;
        let nth = *count;
        let found = self.waiting.iter().position(|rule| rule.request == request && rule.nth == nth)?;
        self.struck += 1;
        Some(self.waiting.swap_remove(found).fault)
    }

    /// How many rules have struck.
    pub fn struck(&self) -> u32 {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_once_at_its_request() {
        let rule = Rule { request: Request::Effect, nth: 2, fault: Fault::Cut };
        let mut rules = Rules::new(vec![rule]);
        assert_eq!(rules.meet(Request::Effect), None);
        assert_eq!(rules.meet(Request::Claim), None);
        assert_eq!(rules.meet(Request::Effect), Some(Fault::Cut));
        assert_eq!(rules.meet(Request::Effect), None);
        assert_eq!(rules.struck(), 1);
    }
}
