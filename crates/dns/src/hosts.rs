//! The table of hosts, as in `/etc/hosts`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::Name;

/// Addresses of names that are known without asking anybody. Their ports are 0; those of IPv6 may have a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(BTreeMap<Name, Vec<SocketAddr>>);

impl Hosts {
    /// Adds what a file says: on each line an address and names, up to a `#`. Lines that make no sense are skipped, as
    /// in libevent. An address of IPv6 may stand in brackets, and have a scope that is a number.
    pub fn add_file(&mut self, text: &[u8]) {
        self.add_file_with(text, address);
    }

    /// As [`add_file`](Self::add_file); `read` says which address a word is, so that it may know the names of interfaces.
    pub fn add_file_with(&mut self, text: &[u8], read: impl Fn(&[u8]) -> Option<SocketAddr>) {
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            let mut words = line
                .split(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
                .filter(|word| !word.is_empty());
            let Some(address) = words.next().and_then(&read) else {
                continue;
            };
            for name in words.filter_map(|word| Name::parse(word).ok()) {
                self.add(name, address);
            }
        }
    }

    /// Adds an address of a name, unless it is known.
    pub fn add(&mut self, name: Name, address: SocketAddr) {
        let known = self.0.entry(name).or_default();
        if !known.contains(&address) {
            known.push(address);
        }
    }

    /// Adds `localhost`, for a machine whose file cannot be read.
    pub fn add_localhost(&mut self) {
        if let Ok(name) = Name::parse("localhost") {
            self.add(name.clone(), (Ipv4Addr::LOCALHOST, 0).into());
            self.add(name, (Ipv6Addr::LOCALHOST, 0).into());
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The addresses of a name, in the order of the file.
    pub fn addresses(&self, name: &Name) -> &[SocketAddr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

fn address(word: &[u8]) -> Option<SocketAddr> {
    let word = std::str::from_utf8(word).ok()?;
    if let Ok(ip) = word.parse::<Ipv4Addr>() {
        return Some((ip, 0).into());
    }
    let inside = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'));
    let with_port = format!("[{}]:0", inside.unwrap_or(word));
    with_port.parse::<SocketAddrV6>().ok().map(Into::into)
}
