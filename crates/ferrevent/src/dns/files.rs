//! The files that describe a resolver, which may change while it lives.

use std::fs::{self, Metadata};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ferrevent_dns::{ConfParts, Hosts, ResolvConf, server_address};

use super::ResolverBuilder;

/// How often they are looked at, at most, in nanoseconds.
const INTERVAL: u64 = 1_000_000_000;

/// A file of this kind that is longer is not one.
const MAX_SIZE: u64 = 4 << 20;

pub(super) struct Files {
    said: ResolverBuilder,
    stamps: [Option<Stamp>; 2],
    next_look: u64,
}

/// Tells one content of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl Files {
    pub(super) fn new(said: &ResolverBuilder) -> Self {
        Self {
            said: said.clone(),
            stamps: [None, None],
            next_look: 0,
        }
    }

    /// Brings the resolver up to date if the files have changed; looks at them once in a while only.
    pub(super) fn read_if_changed(&mut self, machine: &mut ferrevent_dns::Resolver, now: u64) {
        if now < self.next_look {
            return;
        }
        if self.look() != self.stamps {
            self.read(machine, now);
        }
        self.next_look = now.saturating_add(INTERVAL);
    }

    /// Has the resolver be what the files say, and what was said beside them.
    pub(super) fn read(&mut self, machine: &mut ferrevent_dns::Resolver, now: u64) {
        self.next_look = now.saturating_add(INTERVAL);
        self.stamps = self.look();
        let [conf, hosts] = self.said.paths();
        machine.clear_cache();
        machine.set_config(self.said.settings().clone(), now);
        machine.clear_search_list();
        let before: Vec<_> = machine.servers().collect();
        let conf = conf.and_then(content).unwrap_or_default();
        let conf = ResolvConf::parse(&conf);
        let mut servers: Vec<_> = conf
            .servers
            .iter()
            .filter_map(|word| server_address(word))
            .collect();
        machine.clear_servers_and_suspend();
        self.said.settle(machine, now);
        if machine.servers().len() == 0 && servers.is_empty() {
            servers.push(localhost_server());
        }
        for server in servers {
            machine.add_server(server, now);
        }
        debug_assert!(before.is_empty() || machine.servers().len() > 0);
        machine.apply(&conf, ConfParts::all(), now);
        machine.resume(now);

        let mut table = Hosts::default();
        table.add_file(self.said.host_lines());
        match hosts.map(content) {
            Some(Some(text)) => table.add_file(&text),
            // As libevent does where the file is missing.
            Some(None) => table.add_localhost(),
            None => {}
        }
        *machine.hosts_mut() = table;
    }

    fn look(&self) -> [Option<Stamp>; 2] {
        self.said
            .paths()
            .map(|path| fs::metadata(path?).ok().map(|found| Stamp::of(&found)))
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            inode: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// `None` if it cannot be read.
fn content(path: &Path) -> Option<Vec<u8>> {
    let found = fs::metadata(path).ok()?;
    (found.is_file() && found.size() <= MAX_SIZE)
        .then(|| fs::read(path).ok())
        .flatten()
}

/// Where a name server is expected if nobody says where one is.
pub(super) fn localhost_server() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 53).into()
}
