//! `resolv.conf` and hosts files. They are read again when they have changed, which is looked at before each look-up;
//! what the program has set by itself since is left as it is.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use ferrevent_dns::{ConfParts, Name, ResolvConf, domain};

use super::{evdns_base, hold, servers, with};
use crate::util::socket_address;

pub(super) const RESOLV_CONF: &CStr = c"/etc/resolv.conf";
const HOSTS: &CStr = c"/etc/hosts";

/// Files are read up to this many bytes; they have no need to be longer.
const LONGEST_FILE: u64 = 16 << 20;

const NO_FILE: c_int = 1;
const UNREADABLE: c_int = 2;
const TOO_LONG: c_int = 3;
const NO_SERVERS: c_int = 6;

/// The server that is taken when a file names none.
const DEFAULT_SERVER: &[u8] = b"127.0.0.1";

/// The files that a resolver has read.
#[derive(Default)]
pub(super) struct Files {
    conf: Option<(Watched, ConfParts)>,
    hosts: Vec<Watched>,
    /// The servers, and the search list, are what the file says; the program has not changed them.
    has_servers: bool,
    has_search_list: bool,
}

struct Watched {
    name: CString,
    stamp: Option<Stamp>,
}

/// What differs when a file has changed.
#[derive(PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Files {
    /// The program has changed the servers by itself.
    pub(super) fn keep_servers(&mut self) {
        self.has_servers = false;
    }

    /// The program has changed the search list by itself.
    pub(super) fn keep_search_list(&mut self) {
        self.has_search_list = false;
    }

    /// The program does not want the hosts any more.
    pub(super) fn forget_hosts(&mut self) {
        self.hosts.clear();
    }
}

impl Watched {
    fn new(name: &CStr) -> Self {
        Self {
            name: name.to_owned(),
            stamp: Stamp::of(name),
        }
    }

    /// Whether the file is another one than at the last time. One that has gone has not changed: it is being replaced.
    fn has_changed(&mut self) -> bool {
        let now = Stamp::of(&self.name);
        if now.is_none() || now == self.stamp {
            return false;
        }
        self.stamp = now;
        true
    }
}

impl Stamp {
    fn of(name: &CStr) -> Option<Self> {
        let file = fs::metadata(OsStr::from_bytes(name.to_bytes())).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        })
    }
}

/// Reads again what has changed.
///
/// # Safety
/// `dns` is live, its lock held.
pub(super) unsafe fn refresh(dns: *mut evdns_base) {
    // SAFETY: by this function's contract; no user code runs in here.
    unsafe {
        let files = &mut (*dns).files;
        // All stamps are taken.
        let changed = files
            .hosts
            .iter_mut()
            .filter_map(|file| file.has_changed().then_some(()));
        if changed.count() > 0 {
            (*dns).resolver.hosts_mut().clear();
            for file in &(*dns).files.hosts {
                match read_file(&file.name) {
                    Ok(text) => (*dns)
                        .resolver
                        .hosts_mut()
                        .add_file_with(&text, host_address),
                    Err(_) => (*dns).resolver.hosts_mut().add_localhost(),
                }
            }
        }
        let Some((file, parts)) = &mut (*dns).files.conf else {
            return;
        };
        if !file.has_changed() {
            return;
        }
        let Ok(text) = read_file(&file.name) else {
            return;
        };
        let parts = *parts;
        let conf = ResolvConf::parse(&text);
        if (*dns).files.has_search_list {
            with(dns, |resolver, _| {
                resolver.clear_search_list();
                for domain in search_list(&conf) {
                    resolver.add_search_domain(domain, false);
                }
            });
        }
        if (*dns).files.has_servers {
            let mut servers: Vec<SocketAddr> = conf
                .servers
                .iter()
                .filter_map(|text| servers::address(text))
                .collect();
            if servers.is_empty() && wants_default(parts) {
                servers.extend(servers::address(DEFAULT_SERVER));
            }
            with(dns, |resolver, now| resolver.set_servers(&servers, now));
        }
    }
}

fn wants_default(parts: ConfParts) -> bool {
    parts.contains(ConfParts::SERVERS) && !parts.contains(ConfParts::NO_DEFAULT_SERVER)
}

fn search_list(conf: &ResolvConf) -> Vec<Name> {
    match &conf.search {
        Some(list) => list.clone(),
        None => domain_of_this_host().into_iter().collect(),
    }
}

/// `evdns_base_resolv_conf_parse`: 0; 1 if the file cannot be opened, 2 if it cannot be read, 3 if it is too long, 6 if it
/// names no server. The server of this machine is taken then, unless `flags` say otherwise.
///
/// # Safety
/// `dns` is live; `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resolv_conf_parse(
    dns: *mut evdns_base,
    flags: c_int,
    name: *const c_char,
) -> c_int {
    if dns.is_null() || name.is_null() {
        return -1;
    }
    let parts = ConfParts::from_bits_truncate(flags as u32);
    // SAFETY: by this function's contract.
    unsafe { read_conf(dns, parts, CStr::from_ptr(name)) }
}

/// # Safety
/// `dns` is live; its lock is not held, since messages are the program's to hear.
pub(super) unsafe fn read_conf(dns: *mut evdns_base, parts: ConfParts, name: &CStr) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        if parts.contains(ConfParts::HOSTS) {
            evdns_base_load_hosts(dns, HOSTS.as_ptr());
        }
        let wants_servers = parts.contains(ConfParts::SERVERS);
        let had_servers = servers::evdns_base_count_nameservers(dns) > 0;
        let watched = Watched::new(name);
        let text = match read_file(name) {
            Ok(text) => text,
            Err(code) => {
                if code == NO_FILE && wants_default(parts) {
                    servers::add_text(dns, DEFAULT_SERVER);
                }
                return code;
            }
        };
        let mut conf = ResolvConf::parse(&text);
        if parts.contains(ConfParts::SEARCH) {
            conf.search = Some(search_list(&conf));
        }
        with(dns, |resolver, now| resolver.apply(&conf, parts, now));
        if wants_servers {
            for server in &conf.servers {
                servers::add_text(dns, server);
            }
        }
        let mut code = 0;
        if wants_default(parts) && servers::evdns_base_count_nameservers(dns) == 0 {
            servers::add_text(dns, DEFAULT_SERVER);
            code = NO_SERVERS;
        }
        let _held = hold(dns);
        let files = &mut (*dns).files;
        files.conf = Some((watched, parts));
        files.has_servers = wants_servers && !had_servers;
        files.has_search_list = parts.contains(ConfParts::SEARCH);
        code
    }
}

/// `evdns_base_load_hosts`: adds what a file says; NULL stands for `localhost` alone. -1 if it cannot be read, and then
/// `localhost` is known all the same.
///
/// # Safety
/// `dns` is live; `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_load_hosts(dns: *mut evdns_base, name: *const c_char) -> c_int {
    if dns.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(dns);
        let mut code = 0;
        let text = if name.is_null() {
            None
        } else {
            let watched = Watched::new(CStr::from_ptr(name));
            let text = read_file(&watched.name).ok();
            match text {
                Some(_) => (*dns).files.hosts.push(watched),
                None => code = -1,
            }
            text
        };
        with(dns, |resolver, _| match &text {
            Some(text) => resolver.hosts_mut().add_file_with(text, host_address),
            None => resolver.hosts_mut().add_localhost(),
        });
        code
    }
}

/// An address of a hosts file, which has no port.
fn host_address(text: &[u8]) -> Option<SocketAddr> {
    socket_address(text, 0).filter(|address| address.port() == 0)
}

/// A file's text, or libevent's number for what is wrong with it.
fn read_file(name: &CStr) -> Result<Vec<u8>, c_int> {
    let file = File::open(OsStr::from_bytes(name.to_bytes())).map_err(|_| NO_FILE)?;
    let mut text = Vec::new();
    let read = file.take(LONGEST_FILE + 1).read_to_end(&mut text);
    read.map_err(|_| UNREADABLE)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(TOO_LONG);
    }
    Ok(text)
}

/// What stands behind the first dot of this machine's name.
fn domain_of_this_host() -> Option<Name> {
    let mut name = [0_u8; 256];
    // SAFETY: `name` is valid for writing as many bytes as it is long.
    if unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) } != 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?.to_bytes();
    let dot = name.iter().position(|&byte| byte == b'.')?;
    domain(&name[dot..])
}
