//! Listeners.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use ferrevent::{Base, BufferEvent, Callbacks, Dirs, Error, Listener};
use ground::{note, notes, on_systems, settle};

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn each_connection_is_handed_over_with_its_peer() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = Listener::bind(&mut base, anywhere(), |base, _, mut stream, peer| {
            stream.write_all(peer.to_string().as_bytes()).unwrap();
            note(base, "accepted");
        })
        .unwrap();
        let address = listener.address(&base).unwrap();
        assert_ne!(address.port(), 0);
        let mut clients = [0; 3].map(|_| TcpStream::connect(address).unwrap());
        settle(&mut base);
        assert_eq!(notes(&mut base), ["accepted"; 3]);
        for client in &mut clients {
            let mut told = String::new();
            client.read_to_string(&mut told).unwrap();
            assert_eq!(told, client.local_addr().unwrap().to_string());
        }
    });
}

#[test]
fn a_connection_becomes_a_bufferevent() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = Listener::bind(&mut base, anywhere(), |base, _, stream, _| {
            let bev = BufferEvent::new(base, stream).unwrap();
            let echo = Callbacks::new().read(|base, bev| {
                bev.forward(base, bev).unwrap();
            });
            bev.set_handler(base, echo);
            bev.enable(base, Dirs::READ).unwrap();
        })
        .unwrap();
        let address = listener.address(&base).unwrap();
        let client = BufferEvent::unconnected(&mut base);
        client.set_handler(
            &mut base,
            Callbacks::new().read(|base, bev| {
                if bev.input_len(base) == Some(5) {
                    base.loop_break();
                }
            }),
        );
        client.write(&mut base, b"hello").unwrap();
        client.enable(&mut base, Dirs::READ).unwrap();
        client.connect(&mut base, address).unwrap();
        ground::run(&mut base);
        assert!(*client.input(&mut base).unwrap() == b"hello"[..]);
    });
}

#[test]
fn unix_sockets_are_listened_on() {
    on_systems(|ground| {
        let mut base = ground.base();
        let name = format!(
            "\0ferrevent-listener-{}-{}",
            std::process::id(),
            base.method()
        );
        let listener = Listener::bind_unix(&mut base, &name, |base, listener, _: UnixStream| {
            note(base, "accepted");
            listener.free(base);
        })
        .unwrap();
        assert_eq!(listener.address(&base), None);
        let client = BufferEvent::unconnected(&mut base);
        client.connect_unix(&mut base, &name).unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["accepted"]);
        let refused = Listener::bind_unix(&mut base, "x".repeat(200), |_, _, _| {});
        assert!(matches!(refused, Err(Error::Io(_))));
    });
}

#[test]
fn a_disabled_listener_leaves_connections_in_the_queue() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = Listener::bind(&mut base, anywhere(), |base, listener, _, _| {
            note(base, "accepted");
            listener.disable(base);
        })
        .unwrap();
        assert!(listener.is_enabled(&base));
        let address = listener.address(&base).unwrap();
        let _clients = [0; 2].map(|_| TcpStream::connect(address).unwrap());
        settle(&mut base);
        assert_eq!(
            notes(&mut base),
            ["accepted"],
            "one, and then it is disabled"
        );
        assert!(!listener.is_enabled(&base));
        listener.enable(&mut base).unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["accepted"]);
    });
}

#[test]
fn a_listener_may_be_freed_by_its_own_closure() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = Listener::bind(&mut base, anywhere(), |base, listener, _, _| {
            note(base, "accepted");
            assert!(listener.free(base));
            assert!(!listener.free(base));
        })
        .unwrap();
        let address = listener.address(&base).unwrap();
        let _clients = [0; 2].map(|_| TcpStream::connect(address).unwrap());
        settle(&mut base);
        assert_eq!(notes(&mut base), ["accepted"]);
        assert!(!listener.exists(&base) && !listener.is_enabled(&base));
        assert_eq!(listener.address(&base), None);
        assert!(matches!(listener.enable(&mut base), Err(Error::Stale)));
        assert!(!listener.disable(&mut base));
        assert!(TcpStream::connect(address).is_err());
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn a_socket_that_listens_already_is_taken_over() {
    on_systems(|ground| {
        let mut base = ground.base();
        let socket = TcpListener::bind(anywhere()).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::from_tcp(&mut base, socket, |base, _, _, _| {
            note(base, "accepted");
        })
        .unwrap();
        assert_eq!(listener.address(&base), Some(address));
        let _client = TcpStream::connect(address).unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["accepted"]);
    });
}

#[test]
fn a_failure_to_accept_is_told() {
    on_systems(|ground| {
        let mut base = ground.base();
        // Connected, it does not listen: accepting fails with EINVAL, and it is readable for ever.
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let socket = std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(near));
        let listener = Listener::from_unix(&mut base, socket, |_, _, _| {}).unwrap();
        listener.on_error(&mut base, |base, listener, error| {
            assert!(matches!(error, Error::Io(_)));
            note(base, "failed");
            listener.disable(base);
        });
        settle(&mut base);
        assert_eq!(notes(&mut base), ["failed"]);
    });
}

#[test]
fn without_anyone_to_tell_it_rests() {
    let (told, tells) = std::sync::mpsc::channel();
    let mut base = Base::builder()
        .warn(move |warning| told.send(warning.to_string()).unwrap())
        .build()
        .unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let socket = std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(near));
    let listener = Listener::from_unix(&mut base, socket, |_, _, _| {}).unwrap();
    settle(&mut base);
    assert!(!listener.is_enabled(&base));
    assert_eq!(tells.try_iter().count(), 1);
    assert_eq!(base.pending_len(), 1, "it will try again");
}

#[test]
fn an_address_in_use_is_refused_unless_the_port_is_shared() {
    let mut base = Base::new().unwrap();
    let first = Listener::builder().reuse_port().backlog(5);
    let first = first.bind(&mut base, anywhere(), |_, _, _, _| {}).unwrap();
    let address = first.address(&base).unwrap();
    let refused = Listener::bind(&mut base, address, |_, _, _, _| {});
    assert!(
        matches!(refused, Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::AddrInUse)
    );
    let second = Listener::builder().reuse_port();
    second.bind(&mut base, address, |_, _, _, _| {}).unwrap();
}
