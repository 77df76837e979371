//! TLS with rustls: over sockets, and over other bufferevents.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ferrevent::{
    Base, BufferEvent, Condition, Dirs, Error, Event, Handler, Listener, LoopFlags, TlsSession,
    tls_client_config,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A server of "localhost", and a client that trusts it.
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Configs {
    fn new() -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let certificate: CertificateDer<'static> = signed.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        let provider = || Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        server.alpn_protocols = vec![b"second".to_vec(), b"first".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"first".to_vec(), b"third".to_vec()];
        Self {
            client: client.into(),
            server: server.into(),
        }
    }

    fn client(&self) -> TlsSession {
        TlsSession::client(self.client.clone(), "localhost").unwrap()
    }

    fn server(&self) -> TlsSession {
        TlsSession::server(self.server.clone()).unwrap()
    }
}

/// What has happened to one side.
#[derive(Default)]
struct Seen {
    data: Vec<u8>,
    connected: usize,
    writes: usize,
    ends: usize,
    errors: Vec<String>,
    /// When to free it.
    frees_when_written: bool,
    frees_when_read: bool,
}

struct Recorder(Rc<RefCell<Seen>>);

impl Handler for Recorder {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        let mut piece = [0; 4096];
        loop {
            let n = bev.read(base, &mut piece);
            if n == 0 {
                break;
            }
            self.0.borrow_mut().data.extend_from_slice(&piece[..n]);
        }
        if self.0.borrow().frees_when_read {
            bev.free(base);
        }
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        self.0.borrow_mut().writes += 1;
        if self.0.borrow().frees_when_written {
            bev.free(base);
        }
    }

    fn event(&mut self, _: &mut Base, _: BufferEvent, condition: Condition) {
        let mut seen = self.0.borrow_mut();
        match condition {
            Condition::Connected => seen.connected += 1,
            Condition::Eof { .. } => seen.ends += 1,
            Condition::Error { error, .. } => seen.errors.push(name(&error)),
            other => panic!("{other:?}"),
        }
    }
}

fn name(error: &Error) -> String {
    match error {
        Error::Tls(rustls::Error::InvalidCertificate(_)) => "certificate".into(),
        Error::Tls(rustls::Error::AlertReceived(_)) => "alert".into(),
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "cut off".into(),
        other => other.to_string(),
    }
}

fn watch(base: &mut Base, bev: BufferEvent) -> Rc<RefCell<Seen>> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    bev.set_handler(base, Recorder(seen.clone()));
    bev.enable(base, Dirs::READ).unwrap();
    seen
}

/// Two that talk to each other on a pair of sockets.
struct Duo {
    base: Base,
    client: BufferEvent,
    server: BufferEvent,
    of_client: Rc<RefCell<Seen>>,
    of_server: Rc<RefCell<Seen>>,
}

impl Duo {
    fn on_sockets(client: TlsSession, server: TlsSession) -> Self {
        let mut base = Base::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let [client, server] = [(near, client), (far, server)].map(|(socket, session)| {
            let bev = BufferEvent::new(&mut base, socket).unwrap();
            bev.secure(&mut base, session).unwrap();
            bev
        });
        Self::new(base, client, server)
    }

    fn new(mut base: Base, client: BufferEvent, server: BufferEvent) -> Self {
        let of_client = watch(&mut base, client);
        let of_server = watch(&mut base, server);
        Self {
            base,
            client,
            server,
            of_client,
            of_server,
        }
    }

    /// Runs the loop until it is so; fails after ten seconds.
    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Event::timer(&mut self.base, |_, _| panic!("it takes too long"));
        deadline
            .add(&mut self.base, Some(Duration::from_secs(10)))
            .unwrap();
        while !done(self) {
            self.base.run_with(LoopFlags::ONCE).unwrap();
        }
        deadline.free(&mut self.base);
    }

    fn talk(mut self) {
        let up: Vec<u8> = (0..1_000_000_u32).map(|n| (n >> 3) as u8).collect();
        let down: Vec<u8> = (0..300_000_u32).map(|n| (n >> 5) as u8).collect();
        self.client.write(&mut self.base, &up).unwrap();
        self.server.write(&mut self.base, &down).unwrap();
        let (up_len, down_len) = (up.len(), down.len());
        self.run_until(|duo| {
            duo.of_server.borrow().data.len() >= up_len
                && duo.of_client.borrow().data.len() >= down_len
        });
        assert!(self.of_server.borrow().data == up);
        assert!(self.of_client.borrow().data == down);
        for seen in [&self.of_client, &self.of_server] {
            assert_eq!(seen.borrow().connected, 1);
            assert!(seen.borrow().errors.is_empty());
        }
        // Its end is the peer's.
        self.client.free(&mut self.base);
        self.run_until(|duo| duo.of_server.borrow().ends > 0);
        assert!(self.of_server.borrow().errors.is_empty());
    }
}

#[test]
fn both_sides_talk_over_sockets() {
    let configs = Configs::new();
    Duo::on_sockets(configs.client(), configs.server()).talk();
}

#[test]
fn both_sides_talk_over_a_pair() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let [near, far] = BufferEvent::pair(&mut base);
    let client = BufferEvent::secure_over(&mut base, near, configs.client()).unwrap();
    let server = BufferEvent::secure_over(&mut base, far, configs.server()).unwrap();
    Duo::new(base, client, server).talk();
}

#[test]
fn both_sides_talk_in_tls_in_tls() {
    let configs = Configs::new();
    let outer = Duo::on_sockets(configs.client(), configs.server());
    let mut base = outer.base;
    let client = BufferEvent::secure_over(&mut base, outer.client, configs.client()).unwrap();
    let server = BufferEvent::secure_over(&mut base, outer.server, configs.server()).unwrap();
    Duo::new(base, client, server).talk();
}

#[test]
fn both_sides_know_what_was_agreed_on() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    duo.run_until(|duo| duo.of_client.borrow().connected + duo.of_server.borrow().connected == 2);
    for bev in [duo.client, duo.server] {
        let tls = bev.tls(&duo.base).unwrap();
        assert_eq!(tls.alpn_protocol(), Some(&b"first"[..]));
    }
    let Some(rustls::Connection::Server(server)) = duo.server.tls(&duo.base) else {
        panic!("it is a server");
    };
    assert_eq!(server.server_name(), Some("localhost"));
}

#[test]
fn a_certificate_of_nobody_known_is_refused() {
    let configs = Configs::new();
    let client = TlsSession::client(tls_client_config(&[]), "localhost").unwrap();
    let mut duo = Duo::on_sockets(client, configs.server());
    duo.run_until(|duo| !duo.of_server.borrow().errors.is_empty());
    assert_eq!(duo.of_client.borrow().errors, ["certificate"]);
    assert_eq!(duo.of_server.borrow().errors, ["alert"]);
    assert_eq!(duo.of_client.borrow().connected, 0);
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let configs = Configs::new();
    let client = TlsSession::client(configs.client.clone(), "example.org").unwrap();
    let mut duo = Duo::on_sockets(client, configs.server());
    duo.run_until(|duo| !duo.of_client.borrow().errors.is_empty());
    assert_eq!(duo.of_client.borrow().errors, ["certificate"]);
}

#[test]
fn a_connection_that_is_cut_off_is_an_error_unless_that_is_allowed() {
    for allowed in [false, true] {
        let configs = Configs::new();
        let mut duo = Duo::on_sockets(configs.client(), configs.server());
        duo.run_until(|duo| duo.of_server.borrow().connected == 1);
        assert!(duo.client.allow_truncation(&mut duo.base, allowed));
        duo.server.shutdown(&mut duo.base, Shutdown::Both).unwrap();
        duo.run_until(|duo| {
            let seen = duo.of_client.borrow();
            seen.ends + seen.errors.len() > 0
        });
        let seen = duo.of_client.borrow();
        assert_eq!(seen.errors.len(), usize::from(!allowed));
        assert!(seen.errors.iter().all(|error| error == "cut off"));
        assert_eq!(seen.ends, usize::from(allowed));
        assert_eq!(duo.client.enabled(&duo.base), Some(Dirs::WRITE));
    }
}

#[test]
fn bytes_that_are_not_tls_are_an_error() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let client = BufferEvent::new(&mut base, near).unwrap();
    let server = BufferEvent::new(&mut base, far).unwrap();
    server.secure(&mut base, configs.server()).unwrap();
    let mut duo = Duo::new(base, client, server);
    duo.client
        .write(&mut duo.base, b"GET / HTTP/1.0\r\n\r\n")
        .unwrap();
    duo.run_until(|duo| !duo.of_server.borrow().errors.is_empty());
    assert_eq!(duo.of_server.borrow().connected, 0);
}

#[test]
fn a_large_reply_arrives_whole_when_it_is_freed_after_the_write_callback() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    let reply = vec![7; 4 << 20];
    duo.of_server.borrow_mut().frees_when_written = true;
    duo.client
        .set_watermark(&mut duo.base, Dirs::READ, 0, 10_000);
    duo.server.write(&mut duo.base, &reply).unwrap();
    duo.run_until(|duo| duo.of_client.borrow().ends == 1);
    let seen = duo.of_client.borrow();
    assert!(seen.data == reply, "{} bytes", seen.data.len());
    assert_eq!(duo.of_server.borrow().writes, 1);
}

#[test]
fn a_handler_may_free_it_while_it_reads() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    duo.of_server.borrow_mut().frees_when_read = true;
    duo.client.write(&mut duo.base, [1; 100_000]).unwrap();
    duo.run_until(|duo| !duo.server.exists(&duo.base));
    assert!(!duo.of_server.borrow().data.is_empty());
}

#[test]
fn a_client_connects() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let accepted = Rc::new(RefCell::new(None));
    let server = configs.server.clone();
    let kept = accepted.clone();
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&mut base, anywhere, move |base, _, stream, _| {
        let bev = BufferEvent::new(base, stream).unwrap();
        let session = TlsSession::server(server.clone()).unwrap();
        bev.secure(base, session).unwrap();
        *kept.borrow_mut() = Some((bev, watch(base, bev)));
    })
    .unwrap();
    let address = listener.address(&base).unwrap();
    let client = BufferEvent::unconnected(&mut base);
    client.secure(&mut base, configs.client()).unwrap();
    client.write(&mut base, b"hello").unwrap();
    client.connect(&mut base, address).unwrap();
    let mut duo = Duo::new(base, client, client);
    duo.run_until(|_| {
        let accepted = accepted.borrow();
        let seen = accepted.as_ref();
        seen.is_some_and(|(_, seen)| seen.borrow().data == b"hello")
    });
}

#[test]
fn it_is_secured_once() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    let again = duo.client.secure(&mut duo.base, configs.client());
    assert!(matches!(again, Err(Error::Layered)));
    duo.client.free(&mut duo.base);
    let freed = duo.client.secure(&mut duo.base, configs.client());
    assert!(matches!(freed, Err(Error::Stale)));
}
