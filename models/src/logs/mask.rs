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
            b'a'..=b'f' | b'A'..=b'F' => HEX | LETTER,
            b'g'..=b'z' | b'G'..=b'Z' | 0x80..=0xff => LETTER,
            b'=' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'"' | b'\''
            | b'|' | b'!' | b'?' | b'`' => SEPARATOR,
            b':' | b'.' | b'-' | b'@' | b'#' | b'$' | b'%' | b'&' | b'+' | b'/' | b'\\' | b'~' | b'*' => {
                INNER
            }
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
    /// Nothing masked.
    Fixed,
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

const WILD: u64 = 0x517c_c1b7_2722_0a95;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Hash of a word that is masked as a whole.
pub const WHOLE: u64 = mix(SEED, WILD);

/// Mixes a value into a hash (a multiply and a rotation, the Fx scheme).
pub const fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(23) ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Hash of some bytes.
pub fn hash_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(
            hash,
            u64::from_le_bytes([
                chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7],
            ]),
        );
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
        while at < line.len() {
            let bits = class(line[at]);
            if bits & SPACE != 0 {
                break;
            }
            all |= bits;
            at += 1;
        }
        let text = &line[start..at];
        let mut word = if all & (DIGIT | SEPARATOR | INNER) == 0 && !is_literal(text) {
            Word { start, end: at, hash: hash_bytes(SEED, text), kind: Kind::Fixed }
        } else {
            let mut sink = HashSink { hash: SEED };
            let masked = mask(text, &mut sink);
            match sink.hash {
                WHOLE => Word { start, end: at, hash: WHOLE, kind: Kind::Wild },
                hash => Word { start, end: at, hash, kind: if masked { Kind::Part } else { Kind::Fixed } },
            }
        };
        if let Some(last) = words.last_mut()
            && last.kind == Kind::Wild
            // A number too large for its field is printed as stars.
            && (word.kind == Kind::Wild || text.iter().all(|&byte| byte == b'*'))
        {
            last.end = at;
            continue;
        }
        if word.kind == Kind::Wild {
            word.start = join_date(line, words, start);
        }
        if words.len() == max_words {
            return false;
        }
        words.push(word);
    }
}

/// Names of a day and a month in front of a value belong to it. Returns where the value begins now.
fn join_date(line: &[u8], words: &mut Vec<Word>, mut start: usize) -> usize {
    while let Some(last) = words.last() {
        if last.kind == Kind::Wild || last.kind == Kind::Fixed && is_date_name(&line[last.start..last.end]) {
            start = last.start;
            words.pop();
        } else {
            break;
        }
    }
    start
}

/// English short names of months and days of the week.
pub fn is_date_name(text: &[u8]) -> bool {
    text.len() == 3
        && text[0].is_ascii_uppercase()
        && matches!(
            text,
            b"Jan"
                | b"Feb"
                | b"Mar"
                | b"Apr"
                | b"May"
                | b"Jun"
                | b"Jul"
                | b"Aug"
                | b"Sep"
                | b"Oct"
                | b"Nov"
                | b"Dec"
                | b"Mon"
                | b"Tue"
                | b"Wed"
                | b"Thu"
                | b"Fri"
                | b"Sat"
                | b"Sun"
        )
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
        self.hash = mix(self.hash, WILD);
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

/// Masks one word; returns whether anything was masked.
fn mask(word: &[u8], sink: &mut impl Sink) -> bool {
    let mut joiner = Joiner { sink, after_wild: false, held: None, wild: false };
    let mut at = 0;
    while at < word.len() {
        if class(word[at]) & SEPARATOR != 0 {
            joiner.sign(word[at]);
            at += 1;
            continue;
        }
        let start = at;
        let mut seen = Seen::default();
        while at < word.len() && class(word[at]) & SEPARATOR == 0 {
            seen.add(word[at]);
            at += 1;
        }
        chunk(&word[start..at], &seen, &mut joiner);
    }
    joiner.release();
    joiner.wild
}

/// What a chunk is made of.
#[derive(Default)]
struct Seen {
    digits: u32,
    letters: u32,
    not_hex: u32,
    /// Bytes of no class, the underscore above all.
    other: u32,
    backslashes: u32,
    colons: u32,
    dashes: u32,
    slashes: u32,
}

impl Seen {
    fn add(&mut self, byte: u8) {
        let bits = class(byte);
        self.digits += u32::from(bits & DIGIT != 0);
        self.letters += u32::from(bits & LETTER != 0);
        self.not_hex += u32::from(bits & (LETTER | HEX) == LETTER);
        self.other += u32::from(bits == 0);
        self.backslashes += u32::from(byte == b'\\');
        self.colons += u32::from(byte == b':');
        self.dashes += u32::from(byte == b'-');
        self.slashes += u32::from(byte == b'/');
    }
}

/// Masks a chunk.
fn chunk<S: Sink>(whole: &[u8], seen: &Seen, joiner: &mut Joiner<'_, S>) {
    // Punctuation at the end belongs to the sentence, not to the value.
    let mut end = whole.len();
    while end > 1 && matches!(whole[end - 1], b':' | b'.') {
        end -= 1;
    }
    let text = &whole[..end];
    let path = text.len() > 1 && text[0] == b'/' && class(text[1]) & (LETTER | DIGIT) != 0;
    let place = path
        || (seen.backslashes > 0 && seen.letters + seen.digits > 0)
        || (seen.slashes > 1 && holds(text, b"://"));
    if place || (seen.digits > 0 && is_value(text, seen)) || is_literal(text) {
        joiner.wild();
    } else if seen.digits == 0 {
        joiner.text(text);
    } else {
        pieces(text, joiner);
    }
    for &byte in &whole[end..] {
        joiner.sign(byte);
    }
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
    if seen.not_hex + seen.other == 0 && (text.len() >= 8 || seen.colons > 0 || seen.dashes > 1) {
        return true;
    }
    // A number with a unit: 15GB, 0.3s, -5ms, 40%.
    let digits =
        text.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')).count();
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
    if values > 1 || is_host(text) {
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

/// Whether this looks like the full name of a host that has a number in it: small letters, digits and dashes, two dots.
fn is_host(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'.').count() > 2
        && !holds(text, b"..")
        && text
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

/// Truth values and the empty value are values whoever prints them.
fn is_literal(text: &[u8]) -> bool {
    let literal: &[u8] = match text.first() {
        Some(b't' | b'T') => b"true",
        Some(b'f' | b'F') => b"false",
        Some(b'n' | b'N') => b"null",
        _ => return false,
    };
    text.eq_ignore_ascii_case(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(line: &str) -> String {
        let mut words = Vec::new();
        scan(line.as_bytes(), 100, &mut words);
        let texts: Vec<String> = words
            .iter()
            .map(|word| {
                let mut out = Vec::new();
                match word.kind {
                    Kind::Wild => out.extend_from_slice(WILDCARD),
                    _ => render(&line.as_bytes()[word.start..word.end], &mut out),
                }
                String::from_utf8_lossy(&out).into_owned()
            })
            .collect();
        texts.join(" ")
    }

    #[test]
    fn values_are_masked_and_words_are_kept() {
        for (line, wanted) in [
            ("took 15 ms, 0.3s and 12GB", "took <*> ms, <*> and <*>"),
            ("from 10.0.0.1:8080 to web-3.a.example.org", "from <*> to <*>"),
            ("open /var/lib/x.db: denied", "open <*>: denied"),
            ("file C:\\Windows\\x.dll", "file <*>"),
            ("id=5f0c-11ee-be56-0242ac120002;", "id=<*>;"),
            ("mac 00:11:43:e3:ba:c3 up", "mac <*> up"),
            ("generating core.2275", "generating core.<*>"),
            ("task_1445144423722_0020_m_000002 done", "<*> done"),
            ("jk2_init() ok", "jk2_init() ok"),
            ("at Sun Jul 3 23:16:09 2005", "at <*>"),
            ("may and mar", "may and mar"),
            ("nodes cn398 cn399 cn400", "nodes <*>"),
            ("flag=true user=root", "flag=<*> user=root"),
            ("GET https://a.b/c?x=1", "GET <*>?x=<*>"),
            ("(10.0.0.1)", "(<*>)"),
            ("a ok.", "a ok."),
            ("", ""),
        ] {
            assert_eq!(masked(line), wanted, "{line}");
        }
    }

    #[test]
    fn lines_that_differ_in_values_alone_have_the_same_hashes() {
        let hashes = |line: &str| -> Vec<u64> {
            let mut words = Vec::new();
            scan(line.as_bytes(), 100, &mut words);
            words.iter().map(|word| word.hash).collect()
        };
        assert_eq!(hashes("sent 12 bytes to 10.0.0.1"), hashes("sent 7 bytes to 10.0.0.2"));
        assert_ne!(hashes("sent 12 bytes"), hashes("read 12 bytes"));
    }

    proptest! {
        #[test]
        fn words_lie_in_the_line_in_order(line in prop::collection::vec(any::<u8>(), 0..300), max in 1_usize..20) {
            let mut words = Vec::new();
            let whole = scan(&line, max, &mut words);
            prop_assert!(words.len() <= max);
            let mut last = 0;
            for word in &words {
                prop_assert!(last <= word.start && word.start < word.end && word.end <= line.len());
                last = word.end;
            }
            if whole {
                prop_assert!(line[last..].iter().all(|&byte| is_space(byte)));
            }
        }

        #[test]
        fn masking_is_stable(line in "[a-z0-9 =:,./()-]{0,60}") {
            // What was masked once stays so: a template can be read again as a line.
            let once = masked(&line).replace("<*>", "1");
            prop_assert_eq!(masked(&once).matches("<*>").count(), masked(&masked(&line).replace("<*>", "2")).matches("<*>").count());
        }
    }
}
