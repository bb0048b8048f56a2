//! Bits in bytes, the highest bit first.

/// Appends up to 64 low bits of `value` to `bytes`, of which `used` bits are taken.
pub(super) fn put(bytes: &mut Vec<u8>, used: &mut u32, value: u64, count: u32) {
    let mut left = count.min(64);
    while left > 0 {
        let free = 8 - *used % 8;
        if free == 8 {
            bytes.push(0);
        }
        let take = free.min(left);
        let part = (value >> (left - take)) & ((1 << take) - 1);
        if let Some(last) = bytes.last_mut() {
            *last |= (part << (free - take)) as u8;
        }
        *used += take;
        left -= take;
    }
}

/// Reads what [`put`] wrote.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], used: u32) -> Self {
        Self { bytes, at: 0, end: (used as usize).min(bytes.len() * 8) }
    }

    /// The next 57 bits or more, highest first; zeros behind the end.
    fn window(&self) -> u64 {
        let from = self.at / 8;
        let rest = self.bytes.get(from..).unwrap_or_default();
        let word = if let Some(part) = rest.first_chunk::<8>() {
            u64::from_be_bytes(*part)
        } else {
            rest.iter().enumerate().fold(0, |word, (turn, &byte)| word | u64::from(byte) << (56 - 8 * turn))
        };
        word << (self.at % 8)
    }

    /// The next `count` bits (at most 64); `None` behind the end.
    pub(super) fn take(&mut self, count: u32) -> Option<u64> {
        match count {
            0 => return Some(0),
            57.. => {
                let high = self.take(count - 32)?;
                return Some(high << 32 | self.take(32)?);
            }
            _ => {}
        }
        if self.at + count as usize > self.end {
            return None;
        }
        let value = self.window() >> (64 - count);
        self.at += count as usize;
        Some(value)
    }

    /// Ones before the next zero, at most `limit` (below 57); the zero is eaten, too, when there are fewer.
    pub(super) fn ones(&mut self, limit: u32) -> Option<u32> {
        let ones = self.window().leading_ones().min(limit);
        self.at += (ones + u32::from(ones < limit)) as usize;
        (self.at <= self.end).then_some(ones)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(parts in prop::collection::vec((any::<u64>(), 0_u32..=64), 0..100)) {
            let (mut bytes, mut used) = (Vec::new(), 0);
            for (value, count) in &parts {
                put(&mut bytes, &mut used, *value, *count);
            }
            let mut reader = Reader::new(&bytes, used);
            for (value, count) in &parts {
                let kept = if *count == 64 { *value } else { value & ((1 << count) - 1) };
                prop_assert_eq!(reader.take(*count), Some(kept));
            }
            prop_assert_eq!(reader.take(1), None);
        }
    }
}
