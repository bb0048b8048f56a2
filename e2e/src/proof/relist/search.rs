//! Which memory limit lets a process begin a long list and not end it.

/// Nothing that lists at all runs with less, MiB.
const LEAST: u64 = 4;
/// Tried before all others, MiB.
pub const FIRST: u64 = 24;

/// What a process met under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Killed before the second page of any list.
    TooEarly,
    /// Killed after that.
    InTheList,
    /// Not killed.
    NotAtAll,
}

/// Looks for a limit under which a process is killed in the middle of a long list; all of it MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// What to try next.
    pub limit: u64,
    /// Too little.
    low: u64,
    /// Enough.
    high: u64,
    most: u64,
}

impl Search {
    /// Nothing is known yet, but that so much is enough.
    pub fn below(most: u64) -> Self {
        Self { limit: FIRST, low: LEAST, high: most, most }
    }

    /// With what was met under the present limit.
    #[must_use]
    pub fn after(self, met: Met) -> Self {
        let (mut low, mut high) = match met {
            Met::InTheList => return self,
            Met::TooEarly => (self.limit, self.high),
            Met::NotAtAll => (self.low, self.limit),
        };
        if high <= low + 2 {
            // No two processes need quite the same: what was too little once is enough another time.
            (low, high) = (LEAST, self.most);
        }
        // What is asked for is a share of the whole, so the middle is the geometric one.
        Self { limit: (low * high).isqrt(), low, high, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_within_which_it_is_killed_in_the_list_is_found_and_kept() {
        // Below 31 MiB no list begins, from 36 on it gets ready.
        let met = |limit: u64| match limit {
            ..31 => Met::TooEarly,
            31..36 => Met::InTheList,
            _ => Met::NotAtAll,
        };
        let mut search = Search::below(256);
        let mut tries = 0;
        while met(search.limit) != Met::InTheList {
            search = search.after(met(search.limit));
            tries += 1;
            assert!(tries < 6, "{search:?}");
        }
        assert_eq!(search.after(Met::InTheList), search);
    }

    #[test]
    fn what_contradicts_itself_is_sought_anew() {
        let mut search = Search::below(256);
        for round in 0..100 {
            search = search.after(if round % 3 == 0 { Met::TooEarly } else { Met::NotAtAll });
            assert!(search.low < search.limit && search.limit < search.high, "{search:?}");
        }
    }
}
