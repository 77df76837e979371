//! `resolv.conf`, read as leniently as libevent reads it.

use std::net::{IpAddr, SocketAddr};

use bitflags::bitflags;

use crate::{Name, Resolver};

bitflags! {
    /// Which parts of a file count. The numbers are those of libevent's `DNS_OPTION_...`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ConfParts: u32 {
        /// The search list and `ndots`.
        const SEARCH = 1;
        /// The name servers, and where sockets are bound.
        const SERVERS = 2;
        /// All other options.
        const MISC = 4;
        /// The hosts file is to be read too; that is the shell's business.
        const HOSTS = 8;
        /// If there is no name server, the one on this machine is not taken.
        const NO_DEFAULT_SERVER = 16;
    }
}

/// What such a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The words after `nameserver`; see [`server_address`].
    pub servers: Vec<Vec<u8>>,
    /// The last search list, if there is a line with one.
    pub search: Option<Vec<Name>>,
    /// The options, as name and value: `("ndots:", "2")`.
    pub options: Vec<(String, String)>,
}

impl ResolvConf {
    /// Reads the text. Lines that make no sense are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let mut conf = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = line
                .split(|&byte| byte == b' ' || byte == b'\t')
                .filter(|word| !word.is_empty());
            match words.next() {
                Some(b"nameserver") => conf.servers.extend(words.next().map(<[u8]>::to_vec)),
                Some(b"domain") => {
                    if let Some(word) = words.next() {
                        conf.search = Some(domain(word).into_iter().collect());
                    }
                }
                Some(b"search") => conf.search = Some(words.filter_map(domain).collect()),
                Some(b"options") => conf.options.extend(words.filter_map(option)),
                _ => {}
            }
        }
        conf
    }
}

/// A domain of a search list; libevent's users write them with a dot in front, too.
pub fn domain(word: &[u8]) -> Option<Name> {
    let first = word.iter().position(|&byte| byte != b'.')?;
    Name::parse(&word[first..]).ok()
}

fn option(word: &[u8]) -> Option<(String, String)> {
    let word = std::str::from_utf8(word).ok()?;
    let (name, value) = word.split_once(':').unwrap_or((word, ""));
    Some((name.to_owned(), value.to_owned()))
}

/// The address of a server: `1.2.3.4`, `1.2.3.4:53`, `::1`, `[::1]`, `[::1]:53`. The port is 53 if there is none. Scopes
/// must be numbers.
pub fn server_address(text: &[u8]) -> Option<SocketAddr> {
    const PORT: u16 = 53;
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, PORT));
    }
    let with_port = if text.starts_with('[') && text.ends_with(']') {
        format!("{text}:{PORT}")
    } else if text.contains('%') && !text.starts_with('[') {
        format!("[{text}]:{PORT}")
    } else {
        text.to_owned()
    };
    let address = with_port.parse::<SocketAddr>().ok()?;
    (address.port() != 0).then_some(address)
}

impl Resolver {
    /// Takes over the search list and the options of a file. The servers are left to the caller, who knows the names of
    /// interfaces: see [`server_address`] and [`add_server`](Self::add_server). Options that make no sense are skipped.
    pub fn apply(&mut self, conf: &ResolvConf, parts: ConfParts, now: u64) {
        if parts.contains(ConfParts::SEARCH)
            && let Some(search) = &conf.search
        {
            self.clear_search_list();
            for domain in search {
                self.add_search_domain(domain.clone(), false);
            }
        }
        let mut config = self.config().clone();
        for (name, value) in &conf.options {
            // A file may have options that are meant for others.
            let _ = config.set_option(name, value, parts);
        }
        self.set_config(config, now);
    }
}
