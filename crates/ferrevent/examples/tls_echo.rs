//! An echo server that speaks TLS, and a client that trusts nobody but it, in one loop.
//!
//! ```text
//! cargo run -p ferrevent --features tls --example tls_echo -- hello world
//! ```
//!
//! The certificate is made at start. A client of the public network takes
//! [`tls_client_config`](ferrevent::tls_client_config) instead, which trusts the public authorities.

use std::sync::Arc;

use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, Listener, TlsSession};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let signed = rcgen::generate_simple_self_signed(["localhost".into()])?;
    let certificate = signed.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let server = Arc::new(server);
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let mut base = Base::new()?;
    let anywhere = "127.0.0.1:0".parse()?;
    let listener = Listener::bind(&mut base, anywhere, move |base, _, stream, peer| {
        let session = TlsSession::server(server.clone());
        let serving = session.and_then(|session| serve(base, stream, session));
        if let Err(error) = serving {
            eprintln!("{peer}: {error}");
        }
    })?;
    let address = listener.address(&base).ok_or("it does not listen")?;

    let bev = BufferEvent::unconnected(&mut base);
    bev.secure(
        &mut base,
        TlsSession::client(Arc::new(client), "localhost")?,
    )?;
    bev.set_handler(&mut base, Asking(text.len()));
    bev.enable(&mut base, Dirs::READ)?;
    // Sent as soon as the handshake is over.
    bev.write(&mut base, text.as_bytes())?;
    bev.connect(&mut base, address)?;
    base.run()?;
    Ok(())
}

fn serve(
    base: &mut Base,
    stream: std::net::TcpStream,
    session: TlsSession,
) -> ferrevent::Result<()> {
    let bev = BufferEvent::new(base, stream)?;
    bev.secure(base, session)?;
    bev.set_handler(base, Echo);
    bev.enable(base, Dirs::READ)
}

/// Sends back whatever comes.
struct Echo;

impl Handler for Echo {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if bev.forward(base, bev).is_err() {
            bev.free(base);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        // The client's end, or an error: either way there is nobody left to answer.
        if !matches!(condition, Condition::Connected) {
            bev.free(base);
        }
    }
}

/// Prints the answer once so many bytes of it are there.
struct Asking(usize);

impl Handler for Asking {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if bev.input(base).is_none_or(|input| input.len() < self.0) {
            return;
        }
        let mut answer = vec![0; self.0];
        let n = bev.read(base, &mut answer);
        println!("{}", String::from_utf8_lossy(&answer[..n]));
        bev.free(base);
        base.loop_break();
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        match condition {
            Condition::Connected => {
                let version = bev.tls(base).and_then(|tls| tls.protocol_version());
                eprintln!("secured: {version:?}");
            }
            other => {
                eprintln!("{other:?}");
                bev.free(base);
                base.loop_break();
            }
        }
    }
}
