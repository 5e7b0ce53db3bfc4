//! Random identifiers, tokens and numbers, from the kernel.

use crate::model::words;

/// `bytes` random bytes as lower-case hex.
pub fn hex(bytes: usize) -> std::io::Result<String> {
    let mut buffer = vec![0u8; bytes];
    getrandom::fill(&mut buffer).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(words::hex(&buffer))
}

/// A number below `limit`; 0 when that is 0. What modulo favours (below 1 in 2^48) does not matter to anyone here.
pub fn below(limit: u16) -> std::io::Result<u16> {
    let mut buffer = [0u8; 8];
    getrandom::fill(&mut buffer).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(buffer).checked_rem(u64::from(limit)).unwrap_or(0) as u16)
}
