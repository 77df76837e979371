//! What an idle connection costs. By itself in this file, since a process has one size.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::fs;
use std::os::unix::net::UnixStream;

use ferrevent::{Base, BufferEvent, Dirs};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The most that an idle one may take, in bytes.
const MOST: usize = 400;

#[test]
fn an_idle_bufferevent_takes_at_most_400_bytes() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    // An even number of descriptors, of which some are left for others.
    let most = limit.maximum.unwrap_or(u64::MAX).min(20_000);
    let count = (most as usize - 100) & !1;
    let sockets: Vec<UnixStream> = (0..count / 2)
        .flat_map(|_| <[_; 2]>::from(UnixStream::pair().unwrap()))
        .collect();
    let mut base = Base::new().unwrap();
    // Whatever comes with the first of them is not counted.
    let (mut sockets, mut first) = (sockets.into_iter(), resident());
    for made in 0..count {
        if made == 100 {
            base.run_nonblocking().unwrap();
            first = resident();
        }
        let bev = BufferEvent::new(&mut base, sockets.next().unwrap()).unwrap();
        bev.enable(&mut base, Dirs::READ).unwrap();
    }
    base.run_nonblocking().unwrap();
    let each = (resident() - first) / (count - 100);
    println!("{each} bytes for each of {count}");
    assert!(each <= MOST, "{each} bytes");
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let sizes = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = sizes.split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * rustix::param::page_size()
}
