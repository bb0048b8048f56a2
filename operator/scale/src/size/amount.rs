//! CPU and memory in whole units: thousandths of a vCPU and MiB, as Kubernetes counts them.

use serde::{Deserialize, Serialize};

/// What a pod reserves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Thousandths of a vCPU.
    pub millicores: u64,
    /// MiB.
    pub mebibytes: u64,
}

/// What a run was seen to use; `None`: not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// 95th percentile of its CPU, in thousandths of a vCPU.
    pub millicores: Option<u64>,
    /// Limit of CPU that it had, in thousandths of a vCPU; `None`: none, or it is not known.
    #[serde(default)]
    pub cpu_limit: Option<u64>,
    /// Peak of its memory, in MiB.
    pub mebibytes: Option<u64>,
}

/// A size that nothing can have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SizeError {
    /// Not a number, infinite or negative.
    #[error("{what} is {value}, which is no amount; give a number from 0 to {most}")]
    NoAmount {
        /// Field.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Largest that is accepted.
        most: f64,
    },
}

/// Larger than any cluster: a value beyond is a slip of units.
const MOST_VCPU: f64 = 1_000_000.0;
const MOST_GIB: f64 = 10_000_000.0;

impl Size {
    /// From vCPU and GiB.
    pub fn new(vcpu: f64, gib: f64) -> Result<Self, SizeError> {
        Ok(Self {
            millicores: whole("vcpu", vcpu, 1_000.0, MOST_VCPU)?,
            mebibytes: whole("memoryGiB", gib, 1_024.0, MOST_GIB)?,
        })
    }

    /// vCPU.
    pub fn vcpu(self) -> f64 {
        self.millicores as f64 / 1_000.0
    }

    /// GiB.
    pub fn gib(self) -> f64 {
        self.mebibytes as f64 / 1_024.0
    }

    /// Whether it has room in `free`.
    pub fn fits(self, free: Self) -> bool {
        self.millicores <= free.millicores && self.mebibytes <= free.mebibytes
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_add(other.millicores),
            mebibytes: self.mebibytes.saturating_add(other.mebibytes),
        }
    }

    /// So many of it.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self {
            millicores: self.millicores.saturating_mul(u64::from(count)),
            mebibytes: self.mebibytes.saturating_mul(u64::from(count)),
        }
    }

    /// How many of it have room in `all`.
    pub fn count_in(self, all: Self) -> u64 {
        let of = |one: u64, all: u64| all.checked_div(one).unwrap_or(u64::MAX);
        of(self.millicores, all.millicores).min(of(self.mebibytes, all.mebibytes))
    }

    /// What is left; never below nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_sub(other.millicores),
            mebibytes: self.mebibytes.saturating_sub(other.mebibytes),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} vCPU, {:.2} GiB", self.vcpu(), self.gib())
    }
}

fn whole(what: &'static str, value: f64, unit: f64, most: f64) -> Result<u64, SizeError> {
    if value.is_finite() && (0.0..=most).contains(&value) {
        Ok((value * unit).round() as u64)
    } else {
        Err(SizeError::NoAmount { what, value, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_nothing_can_have_are_refused_with_the_field() {
        for bad in [f64::NAN, -1.0, f64::INFINITY, 1e30] {
            let error = Size::new(bad, 1.0).unwrap_err().to_string();
            assert!(error.contains("vcpu") && error.contains("give a number"), "{error}");
            assert!(Size::new(1.0, bad).unwrap_err().to_string().contains("memoryGiB"));
        }
    }

    #[test]
    fn whole_units_and_room() {
        let size = Size::new(0.08, 0.5).unwrap();
        assert_eq!(size, Size { millicores: 80, mebibytes: 512 });
        assert!(size.fits(size) && !size.plus(size).fits(size));
        assert_eq!(size.minus(size.plus(size)), Size::default());
        assert_eq!(size.times(3).count_in(Size::new(1.0, 1.2).unwrap()), 0);
        assert_eq!(size.count_in(Size::new(1.0, 1.2).unwrap()), 2, "the scarcer one counts");
        assert_eq!(Size::default().count_in(size), u64::MAX);
    }
}
