//! One template: its words, how like a line is to it, and how it grows more general.

use super::mask::{Kind, WHOLE, WILDCARD, Word, render};
use serde::{Deserialize, Serialize};

/// Words after which a value is to be expected, whatever it looks like.
const CUES: &[&[u8]] = &[b"by", b"for", b"from", b"host", b"node", b"user", b"via"];

/// A word of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    /// One past the word's last byte in the text.
    end: u32,
    hash: u64,
    kind: Kind,
}

/// A template that lines are assigned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cluster {
    /// Stable for the life of the cluster, never given again.
    pub id: u64,
    /// Lines so far.
    pub count: u64,
    /// Masked words, one after the other.
    text: Vec<u8>,
    slots: Vec<Slot>,
    /// The line went on beyond what is kept.
    cut: bool,
}

/// How like a line is to a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Likeness {
    /// Share of the words that say something and are the same.
    pub share: f64,
    /// Number of such words.
    pub same: f64,
    /// Words that differ.
    pub differing: usize,
    /// Words that differ though no value is to be expected there.
    pub unexpected: usize,
    /// The last of the words that differ.
    pub place: usize,
}

impl Cluster {
    pub fn new(id: u64, line: &[u8], words: &[Word], cut: bool) -> Self {
        let mut text = Vec::with_capacity(words.last().map_or(0, |word| word.end));
        let mut slots = Vec::with_capacity(words.len());
        for word in words {
            masked(line, word, &mut text);
            slots.push(Slot { end: text.len() as u32, hash: word.hash, kind: word.kind });
        }
        Self { id, count: 0, text, slots, cut }
    }

    /// Whether a restored cluster's words lie inside its text.
    pub fn is_sound(&self) -> bool {
        let end = self.slots.last().map_or(0, |slot| slot.end as usize);
        self.slots.is_sorted_by_key(|slot| slot.end) && end == self.text.len()
    }

    /// Bytes held, capacity included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    fn word(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.slots[at - 1].end as usize };
        &self.text[start..self.slots[at].end as usize]
    }

    /// Compares word by word; the line has as many words as the template, `None` otherwise.
    pub fn likeness(&self, line: &[u8], words: &[Word], buffer: &mut Vec<u8>) -> Option<Likeness> {
        if words.len() != self.slots.len() {
            return None;
        }
        let (mut same, mut total) = (0.0, 0.0);
        let (mut differing, mut unexpected, mut place) = (0, 0, 0);
        for (at, (slot, word)) in self.slots.iter().zip(words).enumerate() {
            if slot.hash == word.hash {
                if word.kind != Kind::Wild {
                    same += 1.0;
                    total += 1.0;
                }
                continue;
            }
            if slot.kind == Kind::Wild {
                continue;
            }
            total += 1.0;
            buffer.clear();
            masked(line, word, buffer);
            let (kept, text) = (self.word(at), buffer.as_slice());
            let (front, back) = shared(kept, text);
            // A common front speaks for one variable, and so does a template that has it already.
            if front > 0 && front + back < kept.len() {
                same += 0.5;
            }
            if kept[front..kept.len() - back] == *WILDCARD {
                same += 0.5;
            }
            differing += 1;
            place = at;
            let value = slot.kind == Kind::Part
                || word.kind != Kind::Fixed
                || has_digit(kept)
                || has_digit(text)
                || is_hollow(kept, text, front, back)
                || CUES.contains(&self.before(at));
            unexpected += usize::from(!value);
        }
        let share = if total == 0.0 { 1.0 } else { same / total };
        Some(Likeness { share, same, differing, unexpected, place })
    }

    fn before(&self, at: usize) -> &[u8] {
        if at == 0 { b"" } else { self.word(at - 1) }
    }

    /// Makes every word that differs variable, but for what both have in front and at the end.
    pub fn absorb(&mut self, line: &[u8], words: &[Word], buffer: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(self.text.len());
        let mut slots = Vec::with_capacity(self.slots.len());
        for (at, (slot, word)) in self.slots.iter().zip(words).enumerate() {
            let kept = self.word(at);
            let from = text.len();
            let (mut hash, mut kind) = (slot.hash, slot.kind);
            if slot.hash == word.hash || slot.kind == Kind::Wild {
                text.extend_from_slice(kept);
            } else {
                buffer.clear();
                masked(line, word, buffer);
                let (front, back) = shared(kept, buffer);
                if kept == buffer.as_slice() {
                    text.extend_from_slice(kept);
                } else {
                    text.extend_from_slice(&kept[..front]);
                    text.extend_from_slice(WILDCARD);
                    text.extend_from_slice(&kept[kept.len() - back..]);
                    (hash, kind) = if text.len() - from == WILDCARD.len() {
                        (WHOLE, Kind::Wild)
                    } else {
                        (super::mask::hash_bytes(WHOLE, &text[from..]), Kind::Part)
                    };
                }
            }
            slots.push(Slot { end: text.len() as u32, hash, kind });
        }
        (self.text, self.slots) = (text, slots);
    }

    /// The template, words with one space between, variable parts as `<*>`. Bytes that are not UTF-8 show as U+FFFD.
    pub fn template(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.slots.len());
        let mut last_wild = false;
        for at in 0..self.slots.len() {
            let word = self.word(at);
            let wild = word == WILDCARD;
            if wild && last_wild {
                continue;
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&String::from_utf8_lossy(word));
            last_wild = wild;
        }
        if self.cut && !last_wild {
            out.push_str(" <*>");
        }
        out
    }
}

/// Appends the masked text of a word of a line.
fn masked(line: &[u8], word: &Word, out: &mut Vec<u8>) {
    match word.kind {
        Kind::Wild => out.extend_from_slice(WILDCARD),
        Kind::Part => render(&line[word.start..word.end], out),
        Kind::Fixed => out.extend_from_slice(&line[word.start..word.end]),
    }
}

/// Key of a bucket: number of words and the first one, where that is fixed text.
pub(super) fn bucket_of(length: usize, first: (u64, Kind)) -> u64 {
    let first = match first {
        (hash, Kind::Fixed) => hash,
        (_, Kind::Part | Kind::Wild) => 0,
    };
    super::mask::mix(first, length as u64)
}

fn has_digit(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_digit)
}

/// Whether one word is the other with nothing between its signs: `()` and `(host)`.
fn is_hollow(left: &[u8], right: &[u8], front: usize, back: usize) -> bool {
    front > 0 && (front + back == left.len() || front + back == right.len())
}

/// Bytes that two words share in front and at the end, up to a separator each.
fn shared(left: &[u8], right: &[u8]) -> (usize, usize) {
    let edge = |byte: u8| {
        matches!(
            byte,
            b'=' | b':'
                | b','
                | b';'
                | b'('
                | b')'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'"'
                | b'\''
                | b'|'
                | b'/'
                | b'@'
        )
    };
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let front = left[..common].iter().rposition(|&byte| edge(byte)).map_or(0, |at| at + 1);
    let room = left.len().min(right.len()) - front;
    let common = left.iter().rev().zip(right.iter().rev()).take(room).take_while(|(a, b)| a == b).count();
    let tail = &left[left.len() - common..];
    let back = tail.iter().position(|&byte| edge(byte) || byte == b'.').map_or(0, |at| tail.len() - at);
    (front, back)
}
