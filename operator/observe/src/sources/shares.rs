//! Fair shares of what all tenants use together: the queue to the loop, requests under way, series.
//!
//! A tenant may have as much as is free when it asks: the dynamic threshold by which switches share a buffer between ports
//! (Choudhury and Hahne, 1998). One that floods gets half, two get a third each, and whoever has little always finds room.
//! A fixed part for each would need to know how many tenants there are, and would lie idle while they are quiet.

use homeostat_knowledge::TenantName;
use std::collections::BTreeMap;

/// Whose it is; `None` is what belongs to no tenant, all of it together.
pub type Owner = Option<TenantName>;

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// For nobody.
    Full,
    /// For this owner: it has its share.
    Share,
}

/// Who has how much of a fixed amount. Only owners that have some are kept.
#[derive(Clone, Debug)]
pub struct Shares {
    capacity: usize,
    /// Of tenants and our own together.
    used: usize,
    own: usize,
    by: BTreeMap<Owner, usize>,
}

impl Shares {
    /// Shares of `capacity` units.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, used: 0, own: 0, by: BTreeMap::new() }
    }

    /// Units that there are.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Units that nobody has.
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.used)
    }

    /// What one owner has.
    pub fn of(&self, owner: &Owner) -> usize {
        self.by.get(owner).copied().unwrap_or(0)
    }

    /// Whether `owner` may have `units` more.
    ///
    /// # Errors
    /// [`NoRoom`] when there is not enough left, or too little for what `owner` has already.
    pub fn fits(&self, owner: &Owner, units: usize) -> Result<(), NoRoom> {
        let free = self.free();
        if units > free {
            Err(NoRoom::Full)
        } else if self.of(owner).saturating_add(units) > free {
            Err(NoRoom::Share)
        } else {
            Ok(())
        }
    }

    /// Gives `units` to `owner`.
    ///
    /// # Errors
    /// As [`Self::fits`]; nothing is given then.
    pub fn take(&mut self, owner: &Owner, units: usize) -> Result<(), NoRoom> {
        self.fits(owner, units)?;
        self.used += units;
        *self.by.entry(owner.clone()).or_default() += units;
        Ok(())
    }

    /// Gives `units` to Homeostat itself, which bounds what it asks for: all that is free is there for it.
    ///
    /// # Errors
    /// [`NoRoom::Full`] when there is not enough left.
    pub fn take_own(&mut self, units: usize) -> Result<(), NoRoom> {
        if units > self.free() {
            return Err(NoRoom::Full);
        }
        self.used += units;
        self.own += units;
        Ok(())
    }

    /// Takes back what [`Self::take`] gave.
    pub fn give_back(&mut self, owner: &Owner, units: usize) {
        let Some(has) = self.by.get_mut(owner) else { return };
        let units = units.min(*has);
        *has -= units;
        self.used -= units;
        if *has == 0 {
            self.by.remove(owner);
        }
    }

    /// Takes back what [`Self::take_own`] gave.
    pub fn give_back_own(&mut self, units: usize) {
        let units = units.min(self.own);
        self.own -= units;
        self.used -= units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Owner {
        Owner::from(TenantName::new(name))
    }

    /// Takes one unit after another until there is none for this owner.
    fn flood(shares: &mut Shares, owner: &Owner) -> usize {
        while shares.take(owner, 1).is_ok() {}
        shares.of(owner)
    }

    #[test]
    fn one_that_floods_gets_half_and_whoever_has_little_finds_room() {
        let mut shares = Shares::new(256);
        assert_eq!(flood(&mut shares, &tenant("loud")), 128);
        assert_eq!(shares.fits(&tenant("loud"), 1), Err(NoRoom::Share));
        for _ in 0..64 {
            assert_eq!(shares.take(&tenant("quiet"), 1), Ok(()));
        }
        // What belongs to no tenant is one owner among the others.
        assert_eq!(shares.take(&None, 1), Ok(()));
        shares.give_back(&tenant("loud"), 128);
        assert_eq!(shares.fits(&tenant("loud"), 1), Ok(()), "what was given back can be had again");
    }

    #[test]
    fn many_that_flood_at_once_leave_room_for_one_more() {
        for loud in [2, 3, 10, 100] {
            let mut shares = Shares::new(1_000);
            let names: Vec<Owner> = (0..loud).map(|number| tenant(&format!("loud-{number}"))).collect();
            // In turn, as they would arrive.
            while names.iter().filter(|name| shares.take(name, 1).is_ok()).count() > 0 {}
            let fair = 1_000 / (loud + 1);
            for name in &names {
                assert!(shares.of(name).abs_diff(fair) <= 2, "{loud}: {}", shares.of(name));
            }
            assert_eq!(shares.take(&tenant("quiet"), 1), Ok(()), "{loud}");
        }
    }

    #[test]
    fn what_is_given_back_is_free_again_and_nobody_is_kept_without_having_anything() {
        let mut shares = Shares::new(10);
        assert_eq!(shares.take(&tenant("a"), 11), Err(NoRoom::Full));
        assert_eq!((shares.take(&tenant("a"), 5), shares.take_own(5)), (Ok(()), Ok(())));
        assert_eq!((shares.take_own(1), shares.free()), (Err(NoRoom::Full), 0));
        shares.give_back_own(5);
        shares.give_back_own(5);
        assert_eq!(shares.free(), 5, "more is never given back than was had");
        shares.give_back(&tenant("a"), 50);
        shares.give_back(&tenant("a"), 1);
        assert_eq!((shares.free(), shares.by.len()), (10, 0));
    }
}
