//! The characters of RFC 3986, appendix A, and the hosts that are made of them.

use std::net::Ipv6Addr;

/// A part, if each of its bytes is `allowed`, or belongs to a `%` with two hexadecimal digits. Such a part is ASCII.
pub(super) fn checked(part: &[u8], allowed: impl Fn(u8) -> bool) -> Option<&str> {
    let mut rest = part;
    while let [byte, behind @ ..] = rest {
        rest = match behind {
            [high, low, behind @ ..]
                if *byte == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            _ if allowed(*byte) => behind,
            _ => return None,
        };
    }
    str::from_utf8(part).ok()
}

/// What a path is made of: `pchar` and `/`.
pub(super) fn in_path(byte: u8) -> bool {
    in_name(byte) || b":@/".contains(&byte)
}

/// What a query and a fragment are made of. (A `%` stands for itself nowhere, so it is in none of these.)
pub(super) fn in_query(byte: u8) -> bool {
    in_path(byte) || byte == b'?'
}

/// `scheme`
pub(super) fn scheme(text: &[u8]) -> Option<&str> {
    let (first, rest) = text.split_first()?;
    let fits = first.is_ascii_alphabetic()
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    fits.then(|| str::from_utf8(text).ok()).flatten()
}

/// `userinfo`
pub(super) fn user_info(text: &[u8]) -> Option<&str> {
    checked(text, in_user_info)
}

/// `host`: a name, which may be empty, or an address in brackets.
pub(super) fn host(text: &[u8]) -> Option<&str> {
    let Some(inner) = text.strip_prefix(b"[") else {
        return checked(text, in_name);
    };
    let inner = str::from_utf8(inner.strip_suffix(b"]")?).ok()?;
    let is_address = match inner.strip_prefix('v') {
        Some(future) => is_future_address(future),
        None => inner.parse::<Ipv6Addr>().is_ok(),
    };
    is_address.then(|| str::from_utf8(text).ok()).flatten()
}

/// What follows the `v` of an address of a future kind. As in libevent nothing needs to be behind the dot.
fn is_future_address(text: &str) -> bool {
    let Some((version, address)) = text.split_once('.') else {
        return false;
    };
    !version.is_empty()
        && version.bytes().all(|byte| byte.is_ascii_hexdigit())
        && address.bytes().all(in_user_info)
}

fn in_user_info(byte: u8) -> bool {
    in_name(byte) || byte == b':'
}

/// What names of hosts are made of: `unreserved` and `sub-delims`.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}
