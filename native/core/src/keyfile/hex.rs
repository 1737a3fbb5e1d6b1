//! Lower-case hex, without a copy of a secret left behind.

use zeroize::Zeroizing;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes the bytes behind `content`, two digits each.
pub(super) fn push(content: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        content.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The `N` bytes that the text says, if it says exactly so many.
pub(super) fn read<const N: usize>(text: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = Zeroizing::new([0; N]);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

const fn digit(char: u8) -> Option<u8> {
    match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'a'..=b'f' => Some(char - b'a' + 10),
        _ => None,
    }
}
