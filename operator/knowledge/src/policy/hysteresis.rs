//! How long a finding must have lasted before it is acted on.

use crate::finding::FindingKind;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longer minimum times than what ships, by kind of finding. A Tenant can make them longer, never shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hysteresis {
    longer: BTreeMap<FindingKind, SignedDuration>,
}

impl Hysteresis {
    /// Longest minimum time that can be set: later people have been told that nothing was done.
    pub const LONGEST: SignedDuration = SignedDuration::from_mins(10);

    /// With these minimum times, where they are longer than what ships.
    pub fn new(times: impl IntoIterator<Item = (FindingKind, SignedDuration)>) -> Self {
        let longer = times.into_iter().filter(|(kind, time)| *time > kind.minimum_duration());
        Self { longer: longer.map(|(kind, time)| (kind, time.min(Self::LONGEST))).collect() }
    }

    /// How long a finding of this kind must have lasted: what is set, and never less than what ships.
    pub fn minimum(&self, kind: FindingKind) -> SignedDuration {
        let shipped = kind.minimum_duration();
        self.longer.get(&kind).map_or(shipped, |set| shipped.max(*set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_get_longer_and_never_shorter() {
        let seconds = SignedDuration::from_secs;
        let set = Hysteresis::new([
            (FindingKind::NotReady, seconds(60)),
            (FindingKind::NodeNotReady, seconds(5)),
            (FindingKind::Crashed, seconds(3_600)),
        ]);
        assert_eq!(set.minimum(FindingKind::NotReady), seconds(60));
        assert_eq!(set.minimum(FindingKind::NodeNotReady), seconds(40), "what ships");
        assert_eq!(set.minimum(FindingKind::Crashed), Hysteresis::LONGEST);
        for kind in FindingKind::ALL {
            assert_eq!(Hysteresis::default().minimum(kind), kind.minimum_duration());
        }
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<Hysteresis>(&text).unwrap(), set);
    }
}
