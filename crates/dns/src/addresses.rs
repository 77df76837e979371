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
    /// Only of families that this machine has addresses of (`AI_ADDRCONFIG`), see
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
            Self::Failed(_) => -4,
        }
    }
}

impl Family {
    pub(crate) fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

impl AddressQuery {
    /// The answer, if it needs nobody: no host, or an address, or something that can be neither. `None` is a name.
    pub(crate) fn answer(&self) -> Option<Result<AddressList, AddressError>> {
        let Some(host) = &self.host else {
            let (v4, v6) = if self.passive {
                (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
            } else {
                (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
            };
            return Some(self.list([v4.into(), v6.into()]));
        };
        if let Some(address) = parse_address(host, self.port) {
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

    /// Those that are wanted; an error if that is none.
    pub(crate) fn list(
        &self,
        ips: impl IntoIterator<Item = IpAddr>,
    ) -> Result<AddressList, AddressError> {
        let addresses: Vec<_> = ips
            .into_iter()
            .filter(|ip| self.family.has(*ip))
            .map(|ip| SocketAddr::new(ip, self.port))
            .collect();
        if addresses.is_empty() {
            return Err(AddressError::NoName);
        }
        Ok(AddressList {
            addresses,
            canonical: None,
        })
    }
}

fn parse_address(host: &[u8], port: u16) -> Option<SocketAddr> {
    let host = std::str::from_utf8(host).ok()?;
    if let Some((ip, scope)) = host.split_once('%') {
        let address = SocketAddrV6::new(ip.parse().ok()?, port, 0, scope.parse().ok()?);
        return Some(address.into());
    }
    Some(SocketAddr::new(host.parse().ok()?, port))
}
