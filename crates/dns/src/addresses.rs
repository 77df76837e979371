//! Look-ups of addresses to connect to, `getaddrinfo`'s business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use thiserror::Error;

use crate::{Failure, Name};

/// What [`get_address_info`](crate::Resolver::get_address_info) is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressQuery {
    /// A name or an address; none is this machine. A scope behind an address (`fe80::1%2`) must be a number.
    pub host: Option<Vec<u8>>,
    /// The port of the addresses.
    pub port: u16,
    /// Which addresses are wanted.
    pub family: Family,
    /// Without a host: the address to listen on (any), instead of the loopback (`AI_PASSIVE`).
    pub passive: bool,
    /// Only an address will do; nobody is asked (`AI_NUMERICHOST`).
    pub numeric: bool,
    /// Only of families that this machine has addresses of (`AI_ADDRCONFIG`), unless the host is an address itself; see
    /// [`set_interfaces`](crate::Resolver::set_interfaces).
    pub configured: bool,
}

/// Which kind of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// Only IPv4.
    Ipv4,
    /// Only IPv6.
    Ipv6,
}

/// Addresses that were found; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressList {
    /// IPv4 before IPv6, otherwise in the order of the answers.
    pub addresses: Vec<SocketAddr>,
    /// The name that they belong to, if the host's name is an alias.
    pub canonical: Option<Name>,
}

/// Why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// There is no such host, or what was given is no name.
    #[error("no such host")]
    NoName,
    /// The name, or a label of it, has more bytes than there can be.
    #[error("a name that is too long")]
    TooLong,
    /// The servers could not say.
    #[error(transparent)]
    Failed(Failure),
}

impl AddressError {
    /// The number of `EVUTIL_EAI_...` on Linux.
    pub fn code(self) -> i32 {
        match self {
            Self::NoName | Self::Failed(Failure::NotExist) => -2,
            Self::Failed(Failure::Cancelled) => -90001,
            Self::TooLong | Self::Failed(_) => -4,
        }
    }
}

impl Family {
    /// This one, without what a machine has no addresses of: `interfaces` are IPv4's and IPv6's. With neither of them,
    /// both stay.
    pub(crate) fn among(self, interfaces: (bool, bool)) -> Self {
        match (self, interfaces) {
            (Self::Any, (true, false)) => Self::Ipv4,
            (Self::Any, (false, true)) => Self::Ipv6,
            (family, _) => family,
        }
    }

    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

impl AddressQuery {
    /// The answer, if it needs nobody: no host, or an address, or something that can be neither. `None` is a name.
    /// `family` is what is left of that of the query.
    pub(crate) fn answer(&self, family: Family) -> Option<Result<AddressList, AddressError>> {
        let Some(host) = &self.host else {
            let (v4, v6) = if self.passive {
                (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
            } else {
                (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
            };
            return Some(self.list(family, [(v4, 0).into(), (v6, 0).into()]));
        };
        if let Some(address) = parse_address(host, self.port, self.numeric) {
            if !self.family.has(address.ip()) {
                return Some(Err(AddressError::NoName));
            }
            return Some(Ok(AddressList {
                addresses: vec![address],
                canonical: None,
            }));
        }
        self.numeric.then_some(Err(AddressError::NoName))
    }

    /// Those of a family, with the port that was asked for; an error if that is none.
    pub(crate) fn list(
        &self,
        family: Family,
        known: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<AddressList, AddressError> {
        let mut addresses: Vec<_> = known
            .into_iter()
            .filter(|address| family.has(address.ip()))
            .collect();
        for address in &mut addresses {
            address.set_port(self.port);
        }
        if addresses.is_empty() {
            return Err(AddressError::NoName);
        }
        Ok(AddressList {
            addresses,
            canonical: None,
        })
    }
}

/// Where only an address will do, an IPv4 address may have an old form: the system's resolver is as generous then.
fn parse_address(host: &[u8], port: u16, generous: bool) -> Option<SocketAddr> {
    let host = std::str::from_utf8(host).ok()?;
    if let Some((ip, scope)) = host.split_once('%') {
        let address = SocketAddrV6::new(ip.parse().ok()?, port, 0, scope.parse().ok()?);
        return Some(address.into());
    }
    let ip = match host.parse() {
        Ok(ip) => ip,
        Err(_) if generous => IpAddr::V4(old_ipv4(host)?),
        Err(_) => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// An IPv4 address as `inet_aton` takes it: up to four numbers, decimal, octal (`0177`) or hexadecimal (`0x7f`), of
/// which the last one fills the bytes that are left.
fn old_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(old_number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let left = 4_u32.checked_sub(u32::try_from(first.len()).ok()?)?;
    if left == 0 || first.iter().any(|part| *part > 255) || u64::from(*last) >> (8 * left) != 0 {
        return None;
    }
    let high = first
        .iter()
        .zip([24, 16, 8])
        .fold(0, |bits, (part, shift)| bits | part << shift);
    Some(Ipv4Addr::from(high | last))
}

fn old_number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    // `from_str_radix` takes a sign, too.
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    all_digits
        .then(|| u32::from_str_radix(digits, radix).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_forms_of_addresses() {
        for (text, address) in [
            ("127.1", [127, 0, 0, 1]),
            ("2130706433", [127, 0, 0, 1]),
            ("0x7F.0.0.1", [127, 0, 0, 1]),
            ("0177.0.0.01", [127, 0, 0, 1]),
            ("1.2.65535", [1, 2, 255, 255]),
            ("0", [0, 0, 0, 0]),
        ] {
            assert_eq!(old_ipv4(text), Some(Ipv4Addr::from(address)), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            "1.2.3.256",
            "256.1",
            "1.2.3.4.5",
            "1.2.65536",
            "4294967296",
            "08.1",
            "0x",
            "+1",
            "1.-1",
            "a",
        ] {
            assert_eq!(old_ipv4(text), None, "{text}");
        }
    }
}
