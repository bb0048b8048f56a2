//! Walks the envelope of an OTLP request without decoding it as a whole.
//!
//! All three requests have the same shape: repeated resource (1) of repeated scope (2) of repeated item (2).
//! A decoder that takes the whole request makes a structure of a hundred bytes or more out of every two bytes
//! of an empty item; here only one item at a time is ever decoded, so a request cannot cost more memory than
//! its own size and that of its observations.

/// The bytes are not protocol buffers, or not the message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request is not a valid OTLP message")]
pub struct Garbage;

impl From<prost::DecodeError> for Garbage {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

/// One length-delimited field: its number and content. Others are skipped.
type Field<'a> = (u64, &'a [u8]);

/// The length-delimited fields of a message, in order.
/// Wire format: <https://protobuf.dev/programming-guides/encoding/>.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of one message.
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8], Garbage> {
        let bytes = usize::try_from(bytes).map_err(|_| Garbage)?;
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Garbage)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Garbage> {
        prost::decode_length_delimiter(&mut self.rest).map(|value| value as u64).map_err(Garbage::from)
    }

    fn advance(&mut self) -> Result<Option<Field<'a>>, Garbage> {
        while !self.rest.is_empty() {
            let key = self.varint()?;
            let number = key >> 3;
            if number == 0 {
                return Err(Garbage);
            }
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                5 => drop(self.take(4)?),
                2 => {
                    let bytes = self.varint()?;
                    return self.take(bytes).map(|content| Some((number, content)));
                }
                _ => return Err(Garbage),
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Garbage>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.rest = &[];
        }
        next.transpose()
    }
}

/// Calls `resource` for each resource entry with its resource message (empty when there is none), then `item`
/// for each of its items with what `resource` gave.
///
/// # Errors
/// [`Garbage`] when the envelope is broken or `item` says so; what was visited before must be thrown away.
pub fn walk<T, S>(
    state: &mut S,
    body: &[u8],
    resource: impl Fn(&mut S, &[u8]) -> Result<T, Garbage>,
    mut item: impl FnMut(&mut S, &T, &[u8]) -> Result<(), Garbage>,
) -> Result<(), Garbage> {
    for entry in Fields::of(body) {
        let (1, entry) = entry? else { continue };
        let mut about: &[u8] = &[];
        for field in Fields::of(entry) {
            if let (1, content) = field? {
                about = content;
            }
        }
        let context = resource(state, about)?;
        for scope in Fields::of(entry) {
            let (2, scope) = scope? else { continue };
            for field in Fields::of(scope) {
                if let (2, content) = field? {
                    item(state, &context, content)?;
                }
            }
        }
    }
    Ok(())
}

/// How many items (spans, log records, metrics) a request holds; 0 for garbage.
pub fn count(body: &[u8]) -> u64 {
    count_by(body, |_| Ok(1))
}

/// How many data points a request of metrics holds; 0 for garbage.
pub fn count_points(body: &[u8]) -> u64 {
    // Field numbers of a gauge, a sum, both kinds of histogram and a summary; in each, the points are field 1.
    count_by(body, |metric| {
        let mut points = 0;
        for field in Fields::of(metric) {
            if let (5 | 7 | 9 | 10 | 11, data) = field? {
                for field in Fields::of(data) {
                    points += u64::from(field?.0 == 1);
                }
            }
        }
        Ok(points)
    })
}

fn count_by(body: &[u8], of: impl Fn(&[u8]) -> Result<u64, Garbage>) -> u64 {
    let mut all = 0;
    let walked = walk(
        &mut all,
        body,
        |_, _| Ok(()),
        |all, (), item| {
            *all += of(item)?;
            Ok(())
        },
    );
    if walked.is_ok() { all } else { 0 }
}
