//! Datagrams.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use ferrevent_core::driver::Fd;

use crate::address::Address;
use crate::socket::{self, Mode, check, owned};

/// Makes a datagram socket of an address family.
///
/// # Errors
/// What the system says: `EAFNOSUPPORT`, `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn datagram_socket(family: i32, mode: Mode) -> io::Result<OwnedFd> {
    // SAFETY: takes no memory.
    owned(unsafe { libc::socket(family, libc::SOCK_DGRAM | mode.bits(), 0) })
}

/// Sends a datagram to where the socket is connected, or with `to` somewhere else.
///
/// # Errors
/// What the system says. `WouldBlock` means: later; `ConnectionRefused` may be about an earlier datagram.
pub fn send_datagram(fd: Fd, bytes: &[u8], to: Option<&Address>) -> io::Result<()> {
    let to = to.map_or(&[][..], Address::as_bytes);
    let address = if to.is_empty() {
        std::ptr::null()
    } else {
        to.as_ptr()
    };
    // SAFETY: both are valid for reading as many bytes as is said.
    let sent = unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_NOSIGNAL,
            address.cast(),
            to.len() as libc::socklen_t,
        )
    };
    match usize::try_from(sent) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Takes the next datagram: its length, cut to that of `bytes`, and its sender.
///
/// # Errors
/// What the system says. `WouldBlock` means that there is none; `ConnectionRefused` is about a datagram that was sent.
pub fn receive_datagram(fd: Fd, bytes: &mut [u8]) -> io::Result<(usize, Address)> {
    let (mut address, mut len) = Address::buffer();
    // SAFETY: `bytes` is valid for writing as many bytes as it is long, `address` for `len`.
    let received = unsafe {
        libc::recvfrom(
            fd,
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            0,
            address.as_mut_ptr(),
            &mut len,
        )
    };
    match usize::try_from(received) {
        Ok(received) => Ok((received, address.filled(len))),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Which families this machine has addresses of that reach far, other than loopback, link-local and unique local ones: IPv4, and
/// IPv6. Both are false if the system does not say.
pub fn configured_families() -> (bool, bool) {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is valid for writing.
    if check(unsafe { libc::getifaddrs(&mut list) }).is_err() {
        return (false, false);
    }
    let (mut ipv4, mut ipv6) = (false, false);
    let mut next = list;
    // SAFETY: the list is alive until it is freed below; an address is as long as its family says.
    while let Some(interface) = unsafe { next.as_ref() } {
        next = interface.ifa_next;
        let address = interface.ifa_addr;
        if address.is_null() {
            continue;
        }
        // SAFETY: as above.
        let len = match i32::from(unsafe { (*address).sa_family }) {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
            _ => continue,
        };
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), len) };
        match Address::from_bytes(bytes).and_then(|address| address.ip()) {
            Some(ip) if ip.ip().is_loopback() => {}
            Some(ip) => match ip.ip() {
                IpAddr::V4(_) => ipv4 = true,
                IpAddr::V6(v6) => ipv6 |= !v6.is_unicast_link_local() && !v6.is_unique_local(),
            },
            None => {}
        }
    }
    // SAFETY: it came from `getifaddrs`, and is not used any more.
    unsafe { libc::freeifaddrs(list) };
    (ipv4, ipv6)
}

/// Makes a socket that asks a server: bound where it is wished for, and connected, so that the kernel drops what others
/// send. For a stream, the connection may still be under way.
///
/// # Errors
/// What the system says.
pub fn client_socket(
    stream: bool,
    server: &Address,
    local: Option<&Address>,
) -> io::Result<OwnedFd> {
    let made = if stream {
        socket::stream_socket(server.family(), Mode::default())?
    } else {
        datagram_socket(server.family(), Mode::default())?
    };
    let fd = made.as_raw_fd();
    if let Some(local) = local.filter(|local| local.family() == server.family()) {
        socket::bind(fd, local)?;
    }
    match socket::connect(fd, server)? {
        ferrevent_core::driver::Connect::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
        ferrevent_core::driver::Connect::Started | ferrevent_core::driver::Connect::Done => {
            Ok(made)
        }
    }
}

/// Whether a socket carries a stream, and not datagrams.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`.
pub fn is_stream(fd: Fd) -> io::Result<bool> {
    Ok(socket::socket_type(fd)? == libc::SOCK_STREAM)
}
