//! Numbers as letters, six bits each: what is kept over a restart has to be small.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The number in so many letters; what is too large for them is cut.
pub fn write(number: u32, letters: u32) -> impl Iterator<Item = char> {
    (0..letters).rev().map(move |place| char::from(LETTERS[(number >> (6 * place)) as usize & 63]))
}

/// The number that these letters stand for; a sign that is none counts as the last one.
pub fn read(letters: &[u8]) -> u32 {
    let digit = |byte: &u8| LETTERS.iter().position(|letter| letter == byte).unwrap_or(63) as u32;
    letters.iter().fold(0, |number, byte| (number << 6) | digit(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 63, 64, 4_095, 262_143] {
            let text: String = write(number, 3).collect();
            assert_eq!((text.len(), read(text.as_bytes())), (3, number));
        }
        assert_eq!(read(b"?!"), 4_095);
    }
}
