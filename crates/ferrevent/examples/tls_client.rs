//! Connects to a host with TLS, sends standard input, and prints what comes back. Trusts whom the system trusts:
//! `SSL_CERT_FILE` may name other authorities.
//!
//! ```text
//! printf 'GET / HTTP/1.0\r\nHost: example.org\r\n\r\n' |
//!     cargo run -p ferrevent --features tls-native-roots --example tls_client -- example.org 443
//! ```

use std::io::{Read, Write};

use ferrevent::{
    Base, BufferEvent, Condition, Dirs, Handler, TlsSession, tls_native_client_config,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(host), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tls_client HOST PORT".into());
    };
    let mut request = Vec::new();
    std::io::stdin().read_to_end(&mut request)?;

    let mut base = Base::new()?;
    base.insert_state(Outcome::Ok(()));
    let bev = BufferEvent::unconnected(&mut base);
    let config = tls_native_client_config(&[])?;
    bev.secure(&mut base, TlsSession::client(config, &host)?)?;
    bev.set_handler(&mut base, Printing);
    bev.enable(&mut base, Dirs::READ)?;
    bev.write(&mut base, &request)?;
    bev.connect_host(&mut base, &host, port.parse()?)?;
    // Everything is sent, then its end; the answer may come after that.
    bev.finish(&mut base, None);
    base.run()?;
    match base.remove_state::<Outcome>() {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

type Outcome = Result<(), String>;

struct Printing;

impl Handler for Printing {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        let mut piece = [0; 4096];
        loop {
            let n = bev.read(base, &mut piece);
            if n == 0 {
                return;
            }
            // Nobody is left to be told that nobody reads it.
            let _ = std::io::stdout().write_all(&piece[..n]);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        match condition {
            Condition::Eof { dirs } if dirs.contains(Dirs::READ) => {}
            Condition::Error { error, .. } => {
                base.insert_state(Outcome::Err(error.to_string()));
            }
            // Connected, or everything is sent.
            _ => return,
        }
        bev.free(base);
    }
}
