//! Two sides of a TLS connection, as the tests of TLS use them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]
#![allow(dead_code, reason = "no test uses all of it")]

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ferrevent::{Base, BufferEvent, Condition, Dirs, Error, Event, Handler, LoopFlags, TlsSession};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A server of "localhost", and a client that trusts it.
pub(crate) struct Configs {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl Configs {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn client(&self) -> TlsSession {
        TlsSession::client(self.client.clone(), "localhost").unwrap()
    }

    pub(crate) fn server(&self) -> TlsSession {
        TlsSession::server(self.server.clone()).unwrap()
    }
}

/// What has happened to one side.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) data: Vec<u8>,
    pub(crate) connected: usize,
    pub(crate) writes: usize,
    pub(crate) ends: usize,
    /// Its own end has been sent.
    pub(crate) finished: usize,
    pub(crate) timeouts: usize,
    pub(crate) errors: Vec<String>,
    /// When to free it.
    pub(crate) frees_when_written: bool,
    pub(crate) frees_when_read: bool,
}

pub(crate) struct Recorder(Rc<RefCell<Seen>>);

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
            // Deferred, both may come in one.
            Condition::Eof { dirs } => {
                seen.ends += usize::from(dirs.contains(Dirs::READ));
                seen.finished += usize::from(dirs.contains(Dirs::WRITE));
            }
            Condition::Timeout { dirs } if dirs == Dirs::WRITE => seen.timeouts += 1,
            Condition::Error { error, .. } => seen.errors.push(name(&error)),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn name(error: &Error) -> String {
    match error {
        Error::Tls(rustls::Error::InvalidCertificate(_)) => "certificate".into(),
        Error::Tls(rustls::Error::AlertReceived(_)) => "alert".into(),
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "cut off".into(),
        other => other.to_string(),
    }
}

pub(crate) fn watch(base: &mut Base, bev: BufferEvent) -> Rc<RefCell<Seen>> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    bev.set_handler(base, Recorder(seen.clone()));
    bev.enable(base, Dirs::READ).unwrap();
    seen
}

/// Two that talk to each other on a pair of sockets.
pub(crate) struct Duo {
    pub(crate) base: Base,
    pub(crate) client: BufferEvent,
    pub(crate) server: BufferEvent,
    pub(crate) of_client: Rc<RefCell<Seen>>,
    pub(crate) of_server: Rc<RefCell<Seen>>,
}

impl Duo {
    pub(crate) fn on_sockets(client: TlsSession, server: TlsSession) -> Self {
        let mut base = Base::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let [client, server] = [(near, client), (far, server)].map(|(socket, session)| {
            let bev = BufferEvent::new(&mut base, socket).unwrap();
            bev.secure(&mut base, session).unwrap();
            bev
        });
        Self::new(base, client, server)
    }

    pub(crate) fn new(mut base: Base, client: BufferEvent, server: BufferEvent) -> Self {
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
    pub(crate) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Event::timer(&mut self.base, |_, _| panic!("it takes too long"));
        deadline
            .add(&mut self.base, Some(Duration::from_secs(10)))
            .unwrap();
        while !done(self) {
            self.base.run_with(LoopFlags::ONCE).unwrap();
        }
        deadline.free(&mut self.base);
    }
}
