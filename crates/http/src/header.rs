//! Which headers there can be (RFC 9110, section 5), and what some of them say.

/// Whether `name` may be a header's name: one or more of the characters of a token.
///
/// libevent takes any name without a line's end, also the empty one and one with a colon: the reader at the other end
/// would see another header than the one that was meant.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && token_len(name) == name.len()
}

/// Whether `value` may be a header's value: no CR, no LF and no zero byte.
///
/// A value that goes on in the next line (`obs-fold`), which libevent up to 2.1.12 takes, is none: it is how a header
/// is smuggled past those who do not know it (CVE-2026-63385).
pub fn is_value(value: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, value).is_none()
}

/// How many bytes there are of a token at the beginning of `text`.
pub(crate) fn token_len(text: &[u8]) -> usize {
    let end = text.iter().position(|&byte| !TOKEN[usize::from(byte)]);
    end.unwrap_or(text.len())
}

/// Whether `value` may be that of `Host`: the characters of a host and a port, or nothing.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|&byte| HOST[usize::from(byte)])
}

/// The members of a list, without the blanks around them. Empty ones, which may be there, do not count.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// What the fields `Connection` of a message say about its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl Connection {
    /// libevent compares the whole value, and so overlooks the `close` of `close, TE`.
    pub(crate) fn note(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// `unreserved`, `sub-delims`, `%`, and what addresses and ports need.
const HOST: [bool; 256] = table(b"-._~!$&'()*+,;=%:[]");

/// Letters, digits and `others`.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
}
