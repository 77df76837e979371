//! Addresses, as C has them.

use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{AF_INET, AF_INET6, c_int, sockaddr, sockaddr_in, sockaddr_in6};

/// An internet address, as `struct sockaddr`.
pub(crate) enum Address {
    V4(sockaddr_in),
    V6(sockaddr_in6),
}

impl Address {
    /// The address and its length, for as long as `self` is there.
    pub(crate) fn as_raw(&self) -> (*const sockaddr, c_int) {
        match self {
            Self::V4(address) => (
                std::ptr::from_ref(address).cast(),
                size_of::<sockaddr_in>() as c_int,
            ),
            Self::V6(address) => (
                std::ptr::from_ref(address).cast(),
                size_of::<sockaddr_in6>() as c_int,
            ),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => {
                // SAFETY: numbers and arrays of numbers, for which zeros are values.
                let mut raw: sockaddr_in = unsafe { zeroed() };
                raw.sin_family = AF_INET as u16;
                raw.sin_port = address.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                Self::V4(raw)
            }
            SocketAddr::V6(address) => {
                // SAFETY: as above.
                let mut raw: sockaddr_in6 = unsafe { zeroed() };
                raw.sin6_family = AF_INET6 as u16;
                raw.sin6_port = address.port().to_be();
                raw.sin6_flowinfo = address.flowinfo();
                raw.sin6_addr.s6_addr = address.ip().octets();
                raw.sin6_scope_id = address.scope_id();
                Self::V6(raw)
            }
        }
    }
}

/// The internet address that C has; `None` of another family.
///
/// # Safety
/// `raw` points to `len` bytes of an address.
pub(crate) unsafe fn from_raw(raw: *const sockaddr, len: c_int) -> Option<SocketAddr> {
    let len = usize::try_from(len).ok()?;
    if raw.is_null() || len < size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: the caller's promise; every address begins with its family. It may be aligned for bytes only.
    let family = unsafe { raw.cast::<libc::sa_family_t>().read_unaligned() };
    match c_int::from(family) {
        AF_INET if len >= size_of::<sockaddr_in>() => {
            // SAFETY: it is so long, by the caller's promise.
            let raw = unsafe { raw.cast::<sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        AF_INET6 if len >= size_of::<sockaddr_in6>() => {
            // SAFETY: it is so long, by the caller's promise.
            let raw = unsafe { raw.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}
