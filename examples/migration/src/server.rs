//! Takes connections.

use std::io;
use std::net::Ipv4Addr;

use crate::event::{Base, BufferEvent, Listener};
use crate::session;

struct Server(Listener);

/// Listens on a port that is free, and says which.
///
/// # Errors
/// When the system refuses.
pub fn start(base: &mut Base) -> io::Result<u16> {
    let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = Listener::bind(
        base,
        anywhere,
        |base, _, stream, peer| match BufferEvent::new(base, stream) {
            Ok(bev) => session::start(base, bev),
            Err(error) => eprintln!("board: {peer}: {error}"),
        },
    )?;
    base.insert_state(Server(listener));
    Ok(listener.address(base).map_or(0, |address| address.port()))
}

/// Takes no more connections.
pub fn stop(base: &mut Base) {
    if let Some(Server(listener)) = base.remove_state() {
        listener.free(base);
    }
}
