//! Words of a line with their variable parts masked: one pass over the bytes, no regular expressions.
//!
//! A line is split at white space into words. A word is split at brackets, quotes, `=`, `,` and `;` into chunks;
//! a chunk that looks like a value (number, address, time, path, long hexadecimal, number with a unit) is masked,
//! a chunk that mixes letters and digits is masked piece by piece. The rules are those of the public guidelines for
//! log templates (Khan et al., ICSE 2022): a word with a masked part inside one piece is masked as a whole, masked
//! parts that touch are one.

/// Text that stands for a variable part.
pub const WILDCARD: &[u8] = b"<*>";

const DIGIT: u8 = 1;
const HEX: u8 = 2;
const LETTER: u8 = 4;
const UPPER: u8 = 8;
/// Splits a word into chunks.
const SEPARATOR: u8 = 16;
/// Splits a chunk into pieces.
const INNER: u8 = 32;
const SPACE: u8 = 64;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0_u8; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' => HEX | LETTER,
            b'A'..=b'F' => HEX | LETTER | UPPER,
            b'G'..=b'Z' => LETTER | UPPER,
            b'g'..=b'z' | 0x80..=0xff => LETTER,
            b'=' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'"' | b'\'' | b'|'
            | b'!' | b'?' | b'`' => SEPARATOR,
            b':' | b'.' | b'-' | b'@' | b'#' | b'$' | b'%' | b'&' | b'+' | b'/' | b'\\' | b'~' | b'*' => INNER,
            b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

/// Whether a byte is white space for the scanner.
pub fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

/// What a word is after masking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A word of plain language: letters, at most the first one large, perhaps with punctuation around it.
    Plain,
    /// A name: capitals or signs inside, or digits that were not masked.
    Name,
    /// Partly masked.
    Part,
    /// Masked as a whole.
    Wild,
}

/// A word of a line: where it is, and the hash of its masked text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Hash of the masked text.
    pub hash: u64,
    /// What it is.
    pub kind: Kind,
}

/// Hash of a word that is masked as a whole.
pub const WILD_HASH: u64 = 0x51_7c_c1_b7_27_22_0a_95;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a value into a hash (a multiply and a rotation, the Fx scheme).
pub fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(23) ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Hash of some bytes.
pub fn hash_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(hash, u64::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]));
    }
    let mut last = bytes.len() as u64;
    for &byte in chunks.remainder() {
        last = (last << 8) | u64::from(byte);
    }
    mix(hash, last)
}

/// Splits `line` into at most `max_words` masked words, appended to `words`. Neighbouring words that are masked as a
/// whole count as one. Returns whether the whole line was read.
pub fn scan(line: &[u8], max_words: usize, words: &mut Vec<Word>) -> bool {
    let mut at = 0;
    loop {
        while at < line.len() && class(line[at]) & SPACE != 0 {
            at += 1;
        }
        if at == line.len() {
            return true;
        }
        let start = at;
        let mut all = 0_u8;
        let mut inner_upper = 0_u8;
        while at < line.len() {
            let bits = class(line[at]);
            if bits & SPACE != 0 {
                break;
            }
            all |= if bits == 0 { 128 } else { bits };
            if at > start {
                inner_upper |= bits;
            }
            at += 1;
        }
        let text = &line[start..at];
        let word = if all & !(HEX | LETTER | UPPER) == 0 {
            let kind = if inner_upper & UPPER == 0 { Kind::Plain } else { Kind::Name };
            Word { start, end: at, hash: hash_bytes(SEED, text), kind }
        } else {
            let mut sink = HashSink { hash: SEED };
            let (wild, plain) = mask(text, &mut sink);
            match (wild, sink.hash == mix(SEED, WILD_HASH)) {
                (_, true) => Word { start, end: at, hash: WILD_HASH, kind: Kind::Wild },
                (true, _) => Word { start, end: at, hash: sink.hash, kind: Kind::Part },
                (false, _) => {
                    Word { start, end: at, hash: sink.hash, kind: if plain { Kind::Plain } else { Kind::Name } }
                }
            }
        };
        if word.kind == Kind::Wild
            && let Some(last) = words.last_mut()
            && last.kind == Kind::Wild
        {
            last.end = at;
            continue;
        }
        if words.len() == max_words {
            return false;
        }
        words.push(word);
    }
}

/// Appends the masked text of one word.
pub fn render(word: &[u8], out: &mut Vec<u8>) {
    mask(word, &mut TextSink { out });
}

/// Takes the parts of a masked word.
trait Sink {
    fn text(&mut self, bytes: &[u8]);
    fn wild(&mut self);
}

struct HashSink {
    hash: u64,
}

impl Sink for HashSink {
    fn text(&mut self, bytes: &[u8]) {
        self.hash = match bytes {
            [byte] => mix(self.hash, u64::from(*byte)),
            _ => hash_bytes(self.hash, bytes),
        };
    }

    fn wild(&mut self) {
        self.hash = mix(self.hash, WILD_HASH);
    }
}

struct TextSink<'a> {
    out: &'a mut Vec<u8>,
}

impl Sink for TextSink<'_> {
    fn text(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn wild(&mut self) {
        self.out.extend_from_slice(WILDCARD);
    }
}

/// Joins masked parts that touch or have one of `:`, `,`, `.` between them.
struct Joiner<'a, S> {
    sink: &'a mut S,
    after_wild: bool,
    held: Option<u8>,
    wild: bool,
}

impl<S: Sink> Joiner<'_, S> {
    fn release(&mut self) {
        if let Some(byte) = self.held.take() {
            self.sink.text(&[byte]);
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.release();
        self.sink.text(bytes);
        self.after_wild = false;
    }

    fn sign(&mut self, byte: u8) {
        if self.after_wild && self.held.is_none() && matches!(byte, b':' | b',' | b'.') {
            self.held = Some(byte);
        } else {
            self.text(&[byte]);
        }
    }

    fn wild(&mut self) {
        self.wild = true;
        if self.after_wild {
            self.held = None;
            return;
        }
        self.release();
        self.sink.wild();
        self.after_wild = true;
    }
}

/// Masks one word. Returns whether anything was masked, and whether what is left is plain language.
fn mask(word: &[u8], sink: &mut impl Sink) -> (bool, bool) {
    let mut joiner = Joiner { sink, after_wild: false, held: None, wild: false };
    let mut plain = true;
    let mut at = 0;
    while at < word.len() {
        if class(word[at]) & SEPARATOR != 0 {
            plain &= word[at] != b'=';
            joiner.sign(word[at]);
            at += 1;
            continue;
        }
        let start = at;
        let mut seen = Seen::default();
        while at < word.len() && class(word[at]) & SEPARATOR == 0 {
            seen.add(word[at], at - start);
            at += 1;
        }
        plain &= chunk(&word[start..at], &seen, &mut joiner);
    }
    joiner.release();
    (joiner.wild, plain)
}

/// What a chunk is made of.
#[derive(Default)]
struct Seen {
    all: u8,
    digits: usize,
    letters: usize,
    not_hex: usize,
    backslash: bool,
    colons: usize,
    dashes: usize,
    large_inside: bool,
    odd: bool,
}

impl Seen {
    fn add(&mut self, byte: u8, index: usize) {
        let bits = class(byte);
        self.all |= bits;
        self.digits += usize::from(bits & DIGIT != 0);
        self.letters += usize::from(bits & LETTER != 0);
        self.not_hex += usize::from(bits & (LETTER | HEX) == LETTER);
        self.large_inside |= index > 0 && bits & UPPER != 0;
        self.odd |= bits == 0;
        match byte {
            b'\\' => self.backslash = true,
            b':' => self.colons += 1,
            b'-' => self.dashes += 1,
            _ => {}
        }
    }
}

/// Masks a chunk; returns whether it is plain language.
fn chunk<S: Sink>(whole: &[u8], seen: &Seen, joiner: &mut Joiner<'_, S>) -> bool {
    // Punctuation at the end belongs to the sentence, not to the value.
    let mut end = whole.len();
    while end > 1 && matches!(whole[end - 1], b':' | b'.') {
        end -= 1;
    }
    let text = &whole[..end];
    let path = text.len() > 1 && text[0] == b'/' && class(text[1]) & (LETTER | DIGIT) != 0;
    let mut plain = false;
    if seen.digits == 0 {
        if path || (seen.backslash && seen.letters > 0) || holds(text, b"://") {
            joiner.wild();
        } else {
            plain = seen.letters > 0 && !seen.large_inside && !seen.odd && seen.all & INNER == 0
                || seen.letters == 0
                || (text.len() < whole.len() && text.iter().all(|&byte| class(byte) & LETTER != 0) && !seen.large_inside);
            joiner.text(text);
        }
    } else if path || seen.backslash || is_value(text, seen) || holds(text, b"://") {
        joiner.wild();
    } else {
        pieces(text, joiner);
    }
    for &byte in &whole[end..] {
        joiner.sign(byte);
    }
    plain
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether a chunk with digits is one value.
fn is_value(text: &[u8], seen: &Seen) -> bool {
    if seen.letters == 0 {
        return true;
    }
    if text.len() > 2 && text[0] == b'0' && matches!(text[1], b'x' | b'X') {
        return true;
    }
    if seen.not_hex == 0 && !seen.odd && (text.len() >= 8 || seen.colons > 0 || seen.dashes > 1) {
        return true;
    }
    // A number with a unit: 15GB, 0.3s, -5ms, 40%.
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')).count();
    digits > 0
        && text[..digits].iter().any(u8::is_ascii_digit)
        && text.len() - digits <= 3
        && text[digits..].iter().all(u8::is_ascii_alphabetic)
}

/// Whether a piece of letters and digits is a value: mostly digits, or a long number inside.
fn piece_is_value(piece: &[u8]) -> bool {
    let mut digits = 0;
    let mut run = 0;
    let mut longest = 0;
    let mut hex = true;
    for &byte in piece {
        if byte.is_ascii_digit() {
            digits += 1;
            run += 1;
            longest = longest.max(run);
        } else {
            run = 0;
            hex &= class(byte) & HEX != 0;
        }
    }
    digits > 0 && (digits * 2 >= piece.len() || longest >= 3 || (hex && piece.len() >= 6))
}

fn pieces<S: Sink>(text: &[u8], joiner: &mut Joiner<'_, S>) {
    let is_edge = |byte: u8| class(byte) & INNER != 0;
    let values = text.split(|&byte| is_edge(byte)).filter(|piece| piece_is_value(piece)).count();
    if values > 1 {
        joiner.wild();
        return;
    }
    if values == 0 {
        joiner.text(text);
        return;
    }
    let mut at = 0;
    for piece in text.split(|&byte| is_edge(byte)) {
        if piece_is_value(piece) {
            joiner.wild();
        } else if !piece.is_empty() {
            joiner.text(piece);
        }
        at += piece.len();
        if at < text.len() {
            joiner.sign(text[at]);
            at += 1;
        }
    }
}
