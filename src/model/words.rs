//! Small judgements about words: whether somebody meant another one, what can name an environment; bytes in hex. Pure.

/// Whether the text can name an environment (staging, prod): `[a-z0-9][a-z0-9._-]*`, 40 bytes at most.
pub fn is_environment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=40).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['.', '_', '-'])
}

/// Whether two words are a slip of the finger apart: one letter more, less, other, or two swapped.
pub fn is_near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a == b || a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = |a: &[char], b: &[char]| a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (a.get(start..).unwrap_or_default(), b.get(start..).unwrap_or_default());
    let common = end(rest_a, rest_b);
    match (rest_a.len() - common, rest_b.len() - common) {
        (0 | 1, 0 | 1) => true,
        (2, 2) => rest_a.first() == rest_b.get(1) && rest_a.get(1) == rest_b.first(),
        _ => false,
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_near_and_two_are_not() {
        for near in ["blgo", "bog", "blogg", "blob", "log"] {
            assert!(is_near("blog", near), "{near}");
        }
        for far in ["blog", "wiki", "b", "gblo", "bl", "xlox"] {
            assert!(!is_near("blog", far), "{far}");
        }
    }

    #[test]
    fn hex_is_what_sha256sum_prints() {
        assert_eq!(hex(&[0, 1, 0xab, 0xff]), "0001abff");
    }
}
