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
    let (eights, rest) = value.as_chunks::<8>();
    !eights
        .iter()
        .any(|eight| has_control(eight) && eight.iter().any(ends_value))
        && !rest.iter().any(ends_value)
}

fn ends_value(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// Whether there is one up to CR among these, which is rare; all eight are looked at together. (A byte below 14 borrows
/// from its highest bit.)
fn has_control(bytes: &[u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let bytes = u64::from_ne_bytes(*bytes);
    bytes.wrapping_sub(ONES * 14) & !bytes & (ONES << 7) != 0
}

/// How many bytes there are of a token at the beginning of `text`.
pub(crate) fn token_len(text: &[u8]) -> usize {
    let mut len = 0;
    for &byte in text {
        if !TOKEN[usize::from(byte)] {
            break;
        }
        len += 1;
    }
    len
}

/// Whether `value` may be that of `Host`: the characters of a host and a port, or nothing.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|&byte| HOST[usize::from(byte)])
}

/// The members of a list, without the blanks around them. Empty ones, which may be there, do not count.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(|member| {
            let (from, to) = trim(member);
            &member[from..to]
        })
        .filter(|member| !member.is_empty())
}

/// From where to where `text` is without the blanks around it.
pub(crate) fn trim(text: &[u8]) -> (usize, usize) {
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let Some(from) = text.iter().position(is_text) else {
        return (0, 0);
    };
    let to = text.iter().rposition(is_text).map_or(from, |last| last + 1);
    (from, to)
}

/// The fields that HTTP itself has to know, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Date,
    Host,
    Type,
    Length,
    Codings,
    Connection,
    Expect,
    ProxyConnection,
    Plain,
}

impl Kind {
    /// That of the field with this name, a token. The length tells nearly all of them apart.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if is(name, b"date") => Self::Date,
            4 if is(name, b"host") => Self::Host,
            6 if is(name, b"expect") => Self::Expect,
            10 if is(name, b"connection") => Self::Connection,
            12 if is(name, b"content-type") => Self::Type,
            14 if is(name, b"content-length") => Self::Length,
            16 if is(name, b"proxy-connection") => Self::ProxyConnection,
            17 if is(name, b"transfer-encoding") => Self::Codings,
            _ => Self::Plain,
        }
    }

    /// Whether it says where its message ends, or who is to see it.
    pub(crate) fn ends_messages(self) -> bool {
        matches!(
            self,
            Self::Length | Self::Codings | Self::Connection | Self::Host | Self::Expect
        )
    }
}

/// Whether `name`, a token, is this one of small letters and hyphens. Setting one bit makes letters small, and makes no
/// other character of a token a hyphen.
fn is<const N: usize>(name: &[u8], small: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    let differs = |sum: u8, (byte, small): (&u8, &u8)| sum | ((byte | 0x20) ^ small);
    name.iter().zip(small).fold(0, differs) == 0
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
