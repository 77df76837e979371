//! Socket addresses as the kernel takes them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};

/// Size of `sockaddr_storage`, which holds an address of any family.
const LONGEST: usize = size_of::<libc::sockaddr_storage>();

/// Where the path of a `sockaddr_un` begins.
const UNIX_PATH: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// An address of any family, in the layout of C's `struct sockaddr`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(align(8))]
pub struct Address {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Address {
    /// Takes over the bytes of a `struct sockaddr`; `None` if they are more than any address has.
    pub fn from_bytes(sockaddr: &[u8]) -> Option<Self> {
        let mut address = Self::EMPTY;
        address
            .bytes
            .get_mut(..sockaddr.len())?
            .copy_from_slice(sockaddr);
        address.len = sockaddr.len();
        Some(address)
    }

    /// The address of a unix socket; a first byte of zero makes it an abstract name.
    ///
    /// # Errors
    /// `InvalidInput` if the path is empty, longer than the 107 bytes that fit, or has a zero byte further on.
    pub fn unix(path: &[u8]) -> io::Result<Self> {
        let abstracted = path.first() == Some(&0);
        let room = size_of::<libc::sockaddr_un>() - UNIX_PATH - 1;
        if path.is_empty() || path.len() > room || (!abstracted && path.contains(&0)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut address = Self::of_family(libc::AF_UNIX);
        address.bytes[UNIX_PATH..UNIX_PATH + path.len()].copy_from_slice(path);
        // A path ends with a zero byte that counts; an abstract name ends where the address ends.
        address.len = UNIX_PATH + path.len() + usize::from(!abstracted);
        Ok(address)
    }

    /// The bytes of the `struct sockaddr`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// `AF_INET`, `AF_INET6`, `AF_UNIX` ...; `AF_UNSPEC` of an empty address.
    pub fn family(&self) -> i32 {
        family(self.as_bytes())
    }

    /// Internet address and port, if it is of that kind.
    pub fn ip(&self) -> Option<SocketAddr> {
        let bytes = self.as_bytes();
        let port = u16::from_be_bytes(field(bytes, 2)?);
        match self.family() {
            libc::AF_INET => {
                Some(SocketAddrV4::new(Ipv4Addr::from(field::<4>(bytes, 4)?), port).into())
            }
            libc::AF_INET6 => {
                let flow = u32::from_ne_bytes(field(bytes, 4)?);
                let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
                let scope = u32::from_ne_bytes(field(bytes, 24)?);
                Some(SocketAddrV6::new(ip, port, flow, scope).into())
            }
            _ => None,
        }
    }

    /// Path (or abstract name, with its leading zero) of a unix socket's address; empty if it has none.
    pub fn unix_path(&self) -> Option<&[u8]> {
        if self.family() != libc::AF_UNIX {
            return None;
        }
        let path = &self.as_bytes()[UNIX_PATH..];
        if path.first() == Some(&0) {
            return Some(path);
        }
        path.split(|&byte| byte == 0).next()
    }

    /// Room for the kernel to write an address into; `filled` then says how long it is.
    pub(crate) fn buffer() -> (Self, libc::socklen_t) {
        (Self::EMPTY, LONGEST as libc::socklen_t)
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.bytes.as_mut_ptr().cast()
    }

    pub(crate) fn filled(mut self, len: libc::socklen_t) -> Self {
        // The kernel says how long the address is, even if it had to cut it off.
        self.len = (len as usize).min(LONGEST);
        self
    }

    const EMPTY: Self = Self {
        bytes: [0; LONGEST],
        len: 0,
    };

    fn of_family(family: i32) -> Self {
        let mut address = Self::EMPTY;
        address.bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        address
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => {
                let mut address = Self::of_family(libc::AF_INET);
                address.bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                address.bytes[4..8].copy_from_slice(&v4.ip().octets());
                address.len = size_of::<libc::sockaddr_in>();
                address
            }
            SocketAddr::V6(v6) => {
                let mut address = Self::of_family(libc::AF_INET6);
                address.bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                address.bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                address.bytes[8..24].copy_from_slice(&v6.ip().octets());
                address.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                address.len = size_of::<libc::sockaddr_in6>();
                address
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.ip() {
            return ip.fmt(f);
        }
        match self.unix_path() {
            Some(path) => write!(f, "unix:{}", path.escape_ascii()),
            None => write!(
                f,
                "family {}: {}",
                self.family(),
                self.as_bytes().escape_ascii()
            ),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Looks a host name up with the system's resolver. Blocks.
///
/// # Errors
/// What the resolver says; its code is in the error's text only.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// The address family of a `struct sockaddr`'s bytes.
fn family(sockaddr: &[u8]) -> i32 {
    field(sockaddr, 0).map_or(libc::AF_UNSPEC, |bytes| {
        i32::from(libc::sa_family_t::from_ne_bytes(bytes))
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_addresses_survive() {
        for text in [
            "127.0.0.1:80",
            "255.1.2.3:65535",
            "[::1]:443",
            "[fe80::1:2%7]:1",
        ] {
            let ip: SocketAddr = text.parse().unwrap();
            let address = Address::from(ip);
            assert_eq!(address.ip(), Some(ip));
            assert_eq!(Address::from_bytes(address.as_bytes()), Some(address));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn unix_addresses_survive() {
        let named = Address::unix(b"/run/x").unwrap();
        assert_eq!(named.as_bytes().len(), 2 + 6 + 1);
        assert_eq!(named.unix_path(), Some(&b"/run/x"[..]));
        let abstracted = Address::unix(b"\0x").unwrap();
        assert_eq!(abstracted.as_bytes().len(), 2 + 2);
        assert_eq!(abstracted.unix_path(), Some(&b"\0x"[..]));
        assert_eq!(abstracted.ip(), None);
    }

    #[test]
    fn impossible_addresses_are_refused() {
        assert!(Address::unix(b"").is_err());
        assert!(Address::unix(&[b'x'; 108]).is_err());
        assert!(Address::unix(&[b'x'; 107]).is_ok());
        assert!(Address::unix(b"a\0b").is_err());
        assert!(Address::from_bytes(&[0; 129]).is_none());
        let cut = Address::from_bytes(
            &Address::from("[::1]:1".parse::<SocketAddr>().unwrap()).as_bytes()[..20],
        );
        assert_eq!(cut.unwrap().ip(), None);
        assert_eq!(Address::from_bytes(&[1]).unwrap().family(), libc::AF_UNSPEC);
        assert_eq!(
            Address::from_bytes(&[1, 0]).unwrap().unix_path(),
            Some(&b""[..])
        );
    }
}
