//! Ports of the loopback that nobody uses.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A port of 127.0.0.1 that is free for TCP and UDP at the moment.
///
/// For programs that must be told a number. Somebody may take it before the program does: then it
/// does not start, and is to be started again with another one.
pub fn free_port() -> Result<u16, String> {
    const ATTEMPTS: usize = 100;
    let fault = |e: std::io::Error| format!("a port of the loopback: {e}");
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fault)?;
        let port = listener.local_addr().map_err(fault)?.port();
        match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(e) => last = fault(e),
        }
    }
    Err(last)
}
