//! Internet addresses as text and as `struct sockaddr`.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libc::{AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6};

/// The longest address of `evutil_parse_sockaddr_port` that has a port behind it, in bytes.
const MAX_WITH_PORT: usize = 127;

/// `evutil_inet_ntop`: `out`, or NULL if there is not enough room, or for another family.
///
/// # Safety
/// The C API's contract: `address` is an `in_addr` or `in6_addr`; `out` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_inet_ntop(
    family: c_int,
    address: *const c_void,
    out: *mut c_char,
    len: usize,
) -> *const c_char {
    // SAFETY: by the C API's contract; the addresses are arrays of bytes.
    let text = unsafe {
        match family {
            AF_INET => Ipv4Addr::from(*address.cast::<[u8; 4]>()).to_string(),
            AF_INET6 => ipv6_text(Ipv6Addr::from(*address.cast::<[u8; 16]>())),
            _ => return std::ptr::null(),
        }
    };
    if text.len() >= len {
        return std::ptr::null();
    }
    // SAFETY: there is room for the text and a zero byte.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast(), text.len());
        out.add(text.len()).write(0);
    }
    out
}

/// `evutil_inet_pton`: 1 if `text` was an address, 0 if not, -1 for another family.
///
/// # Safety
/// The C API's contract: `text` is a string; `out` has room for an `in_addr` or `in6_addr`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_inet_pton(
    family: c_int,
    text: *const c_char,
    out: *mut c_void,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let text = CStr::from_ptr(text).to_bytes();
        match family {
            AF_INET => store(out, ipv4(text).map(|ip| ip.octets())),
            AF_INET6 => store(out, ipv6(text).map(|ip| ip.octets())),
            _ => -1,
        }
    }
}

/// `evutil_inet_pton_scope`: as `evutil_inet_pton`; behind an IPv6 address there may be `%` and an interface, whose index
/// goes to `index`.
///
/// # Safety
/// The C API's contract: `text` is a string; `out` has room for an `in_addr` or `in6_addr`; `index` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_inet_pton_scope(
    family: c_int,
    text: *const c_char,
    out: *mut c_void,
    index: *mut c_uint,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        index.write(0);
        if family != AF_INET6 {
            return evutil_inet_pton(family, text, out);
        }
        let Some((ip, scope)) = scoped_ipv6(CStr::from_ptr(text).to_bytes()) else {
            return 0;
        };
        index.write(scope);
        store(out, Some(ip.octets()))
    }
}

/// `evutil_parse_sockaddr_port`: an address, alone or as `address:port` or `[address]:port`. Returns 0; or -1 if it is
/// none, the port is not within 1 to 65535, or there is no room.
///
/// # Safety
/// The C API's contract: `text` is a string; `out` has room for as many bytes as `out_len` says, which is set to the
/// bytes used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_parse_sockaddr_port(
    text: *const c_char,
    out: *mut sockaddr,
    out_len: *mut c_int,
) -> c_int {
    // SAFETY: by the C API's contract.
    let Some(parsed) = parse(unsafe { CStr::from_ptr(text) }.to_bytes()) else {
        return -1;
    };
    // SAFETY: by the C API's contract.
    unsafe {
        match parsed {
            Parsed::V4(ip, port) => write(
                out,
                out_len,
                sockaddr_in {
                    sin_family: AF_INET as libc::sa_family_t,
                    sin_port: port.to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(ip.octets()),
                    },
                    sin_zero: [0; 8],
                },
            ),
            Parsed::V6(ip, scope, port) => write(
                out,
                out_len,
                sockaddr_in6 {
                    sin6_family: AF_INET6 as libc::sa_family_t,
                    sin6_port: port.to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    sin6_scope_id: scope,
                },
            ),
        }
    }
}

/// `evutil_sockaddr_cmp`: 0 if both are the same internet address, otherwise their order, which is arbitrary. Addresses
/// of other families are never the same.
///
/// # Safety
/// The C API's contract: both are addresses of the size that their family has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_sockaddr_cmp(
    one: *const sockaddr,
    other: *const sockaddr,
    include_port: c_int,
) -> c_int {
    // SAFETY: by the C API's contract.
    let (one, other) = unsafe { (key(one), key(other)) };
    let order = one.0.cmp(&other.0).then_with(|| match (one.1, other.1) {
        (Some(one), Some(other)) if include_port != 0 => one.cmp(&other),
        (Some((one, _)), Some((other, _))) => one.cmp(&other),
        _ => std::cmp::Ordering::Greater,
    });
    order as c_int
}

/// An address with a port, as [`evutil_parse_sockaddr_port`] takes it; `port` is for those that come without.
pub(crate) fn socket_address(text: &[u8], port: u16) -> Option<SocketAddr> {
    let or_default = |given| if given == 0 { port } else { given };
    Some(match parse(text)? {
        Parsed::V4(ip, given) => SocketAddr::from((ip, or_default(given))),
        Parsed::V6(ip, scope, given) => SocketAddrV6::new(ip, or_default(given), 0, scope).into(),
    })
}

enum Parsed {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u32, u16),
}

fn parse(text: &[u8]) -> Option<Parsed> {
    if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|&byte| byte == b']')?;
        if end > MAX_WITH_PORT {
            return None;
        }
        // Anything else that follows the bracket has always been ignored.
        let port = match rest[end + 1..].strip_prefix(b":") {
            Some(digits) => port(digits)?,
            None => 0,
        };
        let (ip, scope) = scoped_ipv6(&rest[..end])?;
        return Some(Parsed::V6(ip, scope, port));
    }
    let mut colons = text.iter().enumerate().filter(|(_, byte)| **byte == b':');
    match (colons.next(), colons.next()) {
        (Some(_), Some(_)) => {
            let (ip, scope) = scoped_ipv6(text)?;
            Some(Parsed::V6(ip, scope, 0))
        }
        (Some((colon, _)), None) if colon <= MAX_WITH_PORT => {
            Some(Parsed::V4(ipv4(&text[..colon])?, port(&text[colon + 1..])?))
        }
        (Some(_), None) => None,
        (None, _) => Some(Parsed::V4(ipv4(text)?, 0)),
    }
}

/// A port as C's `atoi` reads it: what follows the digits does not matter.
fn port(text: &[u8]) -> Option<u16> {
    let (number, _) = unsigned(text)?;
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// Four numbers as C's `%u` reads them: leading zeros, blanks and a sign are allowed.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let (number, behind) = unsigned(rest)?;
        *octet = u8::try_from(number).ok()?;
        rest = behind;
    }
    rest.is_empty().then(|| Ipv4Addr::from(octets))
}

/// Reads a number with optional blanks and sign before it; gives it and what follows. Numbers that are too large give
/// `u32::MAX`, negative ones nothing.
fn unsigned(text: &[u8]) -> Option<(u32, &[u8])> {
    let blanks = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
        .count();
    let text = &text[blanks..];
    let negative = text.first() == Some(&b'-');
    let signs = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let text = &text[signs..];
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let number = text[..digits].iter().fold(0_u32, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    });
    (!negative || number == 0).then_some((number, &text[digits..]))
}

fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    // What stands for an IPv4 address at the end may have leading zeros, which Rust does not take.
    if let Some(dot) = text.iter().position(|&byte| byte == b'.') {
        let start = text[..dot].iter().rposition(|&byte| byte == b':')? + 1;
        let (head, tail) = text.split_at(start);
        if !tail[0].is_ascii_digit() {
            return None;
        }
        let [a, b, c, d] = ipv4(tail)?.octets();
        let head = std::str::from_utf8(head).ok()?;
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        return format!("{head}{high:x}:{low:x}").parse().ok();
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An address with the index of the interface behind a `%`.
fn scoped_ipv6(text: &[u8]) -> Option<(Ipv6Addr, u32)> {
    let Some(percent) = text.iter().position(|&byte| byte == b'%') else {
        return Some((ipv6(text)?, 0));
    };
    let scope = interface(&text[percent + 1..])?;
    Some((ipv6(&text[..percent])?, scope))
}

/// The index of an interface that is given by its name or as a number; an empty one is 0.
fn interface(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    let name = CString::new(text).ok()?;
    // SAFETY: `name` is a string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index != 0 {
        return Some(index);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// As C prints it: the last 32 bits of addresses that embed an IPv4 address are dotted.
fn ipv6_text(ip: Ipv6Addr) -> String {
    let words = ip.segments();
    let compatible = words[..6] == [0; 6] && words[6] != 0 && words[7] != 0;
    if compatible {
        let [.., a, b, c, d] = ip.octets();
        return format!("::{}", Ipv4Addr::new(a, b, c, d));
    }
    ip.to_string()
}

/// # Safety
/// `out` has room for `N` bytes.
unsafe fn store<const N: usize>(out: *mut c_void, address: Option<[u8; N]>) -> c_int {
    let Some(address) = address else { return 0 };
    // SAFETY: by this function's contract; bytes need no alignment.
    unsafe { out.cast::<[u8; N]>().write(address) };
    1
}

/// # Safety
/// `out` has room for as many bytes as `out_len` says; both are writable.
unsafe fn write<T>(out: *mut sockaddr, out_len: *mut c_int, address: T) -> c_int {
    // SAFETY: by this function's contract; `out` need not be aligned for `T`.
    unsafe {
        if let Ok(room) = usize::try_from(*out_len)
            && room >= size_of::<T>()
        {
            // All of it is cleared, so that programs may compare what they gave as a whole.
            out.cast::<u8>().write_bytes(0, room);
            out.cast::<T>().write_unaligned(address);
            *out_len = size_of::<T>() as c_int;
            return 0;
        }
    }
    -1
}

/// What addresses are compared by: the family; then, of internet addresses, address and port.
///
/// # Safety
/// `address` has the size that its family has.
unsafe fn key(address: *const sockaddr) -> (libc::sa_family_t, Option<(u128, u16)>) {
    // SAFETY: by this function's contract.
    unsafe {
        let family = (*address).sa_family;
        let ip = match c_int::from(family) {
            AF_INET => {
                let address = address.cast::<sockaddr_in>().read_unaligned();
                Some((u128::from(address.sin_addr.s_addr), address.sin_port))
            }
            AF_INET6 => {
                let address = address.cast::<sockaddr_in6>().read_unaligned();
                Some((
                    u128::from_be_bytes(address.sin6_addr.s6_addr),
                    address.sin6_port,
                ))
            }
            _ => None,
        };
        (family, ip)
    }
}
