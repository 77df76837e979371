//! The host that a request is for, and the patterns of virtual hosts.

/// The host in a `Host` header: without the port, if there is one.
///
/// ```
/// use ferrevent_http::host;
///
/// assert_eq!(host::without_port(b"example.com:8080"), b"example.com");
/// assert_eq!(host::without_port(b"[::1]:80"), b"[::1]");
/// assert_eq!(host::without_port(b"[::1]"), b"[::1]");
/// ```
pub fn without_port(header: &[u8]) -> &[u8] {
    let digits = header.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let (before, _) = header.split_at(header.len() - digits.count());
    before.strip_suffix(b":").unwrap_or(header)
}

/// Whether a host's name is one of a virtual host's (`evhttp_add_virtual_host`). In the pattern a `*` stands for any
/// number of any characters, and every other character for itself; the case of letters does not matter.
///
/// ```
/// use ferrevent_http::host;
///
/// assert!(host::matches(b"*.example.com", b"WWW.Example.com"));
/// assert!(!host::matches(b"*.example.com", b"example.com"));
/// ```
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut pieces = pattern.split(|&byte| byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = strip_start(name, first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    // Where a piece between two stars can stand, the first such place is as good as any.
    for piece in pieces {
        let found = (0..=rest.len()).find_map(|at| strip_start(rest.get(at..)?, piece));
        let Some(behind) = found else { return false };
        rest = behind;
    }
    rest.len()
        .checked_sub(last.len())
        .and_then(|at| rest.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(last))
}

/// What is behind `start`, if `text` begins with it.
fn strip_start<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = text.split_at_checked(start.len())?;
    begin.eq_ignore_ascii_case(start).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_digits_behind_a_colon() {
        for (header, host) in [
            ("h", "h"),
            ("h:80", "h"),
            ("h:", "h"),
            (":80", ""),
            ("", ""),
            ("h:80x", "h:80x"),
            ("h80", "h80"),
            ("80", "80"),
            ("a:1:2", "a:1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(header.as_bytes()), host.as_bytes(), "{header}");
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [
            ("plain", "Plain"),
            ("*", ""),
            ("*", "a"),
            ("pl*n", "pln"),
            ("pl*n", "plaaaan"),
            ("a*b*c", "aXbYc"),
            ("a*b*c", "abbcc"),
            ("**a", "a"),
            ("*.example.com", ".example.com"),
            ("*ab*ab", "abXab"),
        ] {
            assert!(
                matches(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn everything_else_stands_for_itself() {
        for (pattern, name) in [
            ("plain", "plain.x"),
            ("plain", "xplain"),
            ("plain", ""),
            ("", "a"),
            ("a?b", "axb"),
            ("a[bc]*", "ab"),
            ("ab*ab", "ab"),
            ("ab*b", "ab"),
            ("*ab*ab", "ab"),
            ("a*b*c", "acb"),
        ] {
            assert!(
                !matches(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
    }
}
