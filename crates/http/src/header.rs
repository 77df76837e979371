//! Which headers there can be (RFC 9110, section 5).

/// Whether `name` may be a header's name: one or more of the characters of a token.
///
/// libevent takes any name without a line's end, also the empty one and one with a colon: the reader at the other end
/// would see another header than the one that was meant.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token(byte))
}

/// Whether `value` may be a header's value: no CR, no LF and no zero byte.
///
/// A value that goes on in the next line (`obs-fold`), which libevent up to 2.1.12 takes, is none: it is how a header
/// is smuggled past those who do not know it (CVE-2026-63385).
pub fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
