//! The table of hosts, as in `/etc/hosts`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Name;

/// Addresses of names that are known without asking anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(BTreeMap<Name, Vec<IpAddr>>);

impl Hosts {
    /// Adds what a file says: on each line an address and names, up to a `#`. Lines that make no sense are skipped, as
    /// in libevent.
    pub fn add_file(&mut self, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            let mut words = line
                .split(|byte| byte.is_ascii_whitespace())
                .filter(|word| !word.is_empty());
            let address = words
                .next()
                .and_then(|word| address(std::str::from_utf8(word).ok()?));
            let Some(address) = address else { continue };
            for name in words.filter_map(|word| Name::parse(word).ok()) {
                self.add(name, address);
            }
        }
    }

    /// Adds an address of a name, unless it is known.
    pub fn add(&mut self, name: Name, address: IpAddr) {
        let known = self.0.entry(name).or_default();
        if !known.contains(&address) {
            known.push(address);
        }
    }

    /// Adds `localhost`, for a machine whose file cannot be read.
    pub fn add_localhost(&mut self) {
        if let Ok(name) = Name::parse("localhost") {
            self.add(name.clone(), Ipv4Addr::LOCALHOST.into());
            self.add(name, Ipv6Addr::LOCALHOST.into());
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The addresses of a name, in the order of the file.
    pub fn addresses(&self, name: &Name) -> &[IpAddr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// An address; one of IPv6 may stand in brackets.
fn address(word: &str) -> Option<IpAddr> {
    let inside = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'));
    match inside {
        Some(word) => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => word.parse().ok(),
    }
}
