//! How a resolver is described.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ferrevent_dns::{Config, Name};

use super::files::{Files, localhost_server};
use super::{Resolver, ResolverSlot};
use crate::base::Base;
use crate::error::Result;
use crate::event::Event;

/// Describes a [`Resolver`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ResolverBuilder {
    config: Config,
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    hosts: String,
    resolv_conf: Option<PathBuf>,
    hosts_file: Option<PathBuf>,
}

impl ResolverBuilder {
    /// Settings; those of the file come on top.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// A name server, beside those of the file.
    pub fn server(mut self, server: SocketAddr) -> Self {
        self.servers.push(server);
        self
    }

    /// A domain for names with few dots, unless the file has a search list (`evdns_base_search_add`).
    pub fn search(mut self, domain: Name) -> Self {
        self.search.push(domain);
        self
    }

    /// Lines of a table of hosts, each an address and names.
    pub fn hosts(mut self, lines: impl AsRef<str>) -> Self {
        self.hosts.push_str(lines.as_ref());
        self.hosts.push('\n');
        self
    }

    /// A file like `/etc/resolv.conf` (`evdns_base_resolv_conf_parse`), which is read again when it has changed. A file
    /// that is not there counts as one without servers.
    pub fn resolv_conf(mut self, path: impl AsRef<Path>) -> Self {
        self.resolv_conf = Some(path.as_ref().to_owned());
        self
    }

    /// A file like `/etc/hosts` (`evdns_base_load_hosts`), which is read again when it has changed.
    pub fn hosts_file(mut self, path: impl AsRef<Path>) -> Self {
        self.hosts_file = Some(path.as_ref().to_owned());
        self
    }

    /// The system's two files.
    pub fn system_files(self) -> Self {
        self.resolv_conf("/etc/resolv.conf")
            .hosts_file("/etc/hosts")
    }

    /// Makes it. If no name server was named, neither here nor in a file, it asks the one on this machine.
    ///
    /// # Errors
    /// [`Error::NotOnSystem`](crate::Error::NotOnSystem).
    pub fn build(self, base: &mut Base) -> Result<Resolver> {
        base.native()?;
        let now = base.driver.now();
        let mut machine = ferrevent_dns::Resolver::new(self.config.clone(), random);
        let has_files = self.resolv_conf.is_some() || self.hosts_file.is_some();
        let files = if has_files {
            let mut files = Files::new(&self);
            files.read(&mut machine, now);
            Some(files)
        } else {
            self.settle(&mut machine, now);
            machine.hosts_mut().add_file(self.hosts.as_bytes());
            if machine.servers().len() == 0 {
                machine.add_server(localhost_server(), now);
            }
            None
        };
        // Made before the resolver, which it has to name.
        let timer = Event::timer(base, |_, _| {});
        let resolver = base.resolvers.insert(ResolverSlot {
            machine,
            sockets: HashMap::new(),
            timer,
            waiting: HashMap::new(),
            finished: VecDeque::new(),
            telling: false,
            idle: true,
            files,
        });
        timer.free(base);
        let timer = Event::timer(base, move |base, _| resolver.time_has_passed(base));
        base.resolvers[resolver].timer = timer;
        Ok(resolver)
    }

    /// What was said beside the files.
    pub(super) fn settle(&self, machine: &mut ferrevent_dns::Resolver, now: u64) {
        for server in &self.servers {
            machine.add_server(*server, now);
        }
        for domain in &self.search {
            machine.add_search_domain(domain.clone(), false);
        }
    }

    pub(super) fn paths(&self) -> [Option<&Path>; 2] {
        [self.resolv_conf.as_deref(), self.hosts_file.as_deref()]
    }

    pub(super) fn settings(&self) -> &Config {
        &self.config
    }

    pub(super) fn host_lines(&self) -> &[u8] {
        self.hosts.as_bytes()
    }
}

/// Numbers, ports and the case of letters must not be guessed.
fn random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_ok() {
        return;
    }
    // No kernel that runs this lacks it; the keys of a hash map are random, too.
    use std::hash::{BuildHasher as _, RandomState};
    for chunk in bytes.chunks_mut(8) {
        let random = RandomState::new().hash_one(0).to_ne_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
}
