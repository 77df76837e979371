//! Connections that a bufferevent starts.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use ferrevent::driver::Connect;
use ferrevent::{Base, BufferEvent, Condition, Dirs, Error, Handler};
use ferrevent_sim::{Dial, Faults, World};
use ground::{Ground, Witness, describe, note, notes, on_systems, settle};

const MS: Duration = Duration::from_millis(1);

/// Notes conditions, and ends the loop with the first that is no connection.
struct Attempt;

impl Handler for Attempt {
    fn event(&mut self, base: &mut Base, _: BufferEvent, condition: Condition) {
        note(base, describe(&condition));
        base.loop_break();
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        note(base, "written");
        base.loop_break();
    }
}

fn attempt(base: &mut Base) -> BufferEvent {
    let bev = BufferEvent::unconnected(base);
    bev.set_handler(base, Attempt);
    bev
}

/// An address where nobody listens.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Writes, and frees, when the connection stands.
struct SendAndLeave;

impl Handler for SendAndLeave {
    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        note(base, describe(&condition));
        bev.write(base, b" inside").unwrap();
        assert!(bev.free(base));
        base.loop_break();
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        note(base, "written");
    }
}

#[test]
fn what_is_freed_as_its_connection_stands_has_its_output_sent() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bev = BufferEvent::unconnected(&mut base);
        bev.set_handler(&mut base, SendAndLeave);
        bev.write(&mut base, b"before").unwrap();
        bev.connect(&mut base, listener.local_addr().unwrap())
            .unwrap();
        ground::run(&mut base);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["connected"]);
        assert_eq!(base.bufferevents().count(), 0);
        let (mut peer, _) = listener.accept().unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before inside");
    });
}

#[test]
fn queued_data_follows_the_connection() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bev = attempt(&mut base);
        bev.write(&mut base, b"before").unwrap();
        bev.connect(&mut base, listener.local_addr().unwrap())
            .unwrap();
        ground::run(&mut base);
        // Although the first callback has ended the loop: who frees it now has sent this.
        assert_eq!(notes(&mut base), ["connected", "written"]);
        let mut text = [0; 6];
        listener.accept().unwrap().0.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"before");
    });
}

#[test]
fn a_connection_without_data_makes_no_write_callback() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bev = attempt(&mut base);
        bev.enable(&mut base, Dirs::READ).unwrap();
        bev.connect(&mut base, listener.local_addr().unwrap())
            .unwrap();
        ground::run(&mut base);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["connected"]);
    });
}

#[test]
fn a_refusal_is_told_once_and_the_next_attempt_may_succeed() {
    on_systems(|ground| {
        let mut base = ground.base();
        let bev = attempt(&mut base);
        bev.enable(&mut base, Dirs::READ).unwrap();
        bev.connect(&mut base, closed_port()).unwrap();
        ground::run(&mut base);
        settle(&mut base);
        let told = notes(&mut base);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("error none") && told[0].contains("111"),
            "{told:?}"
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        bev.connect(&mut base, listener.local_addr().unwrap())
            .unwrap();
        ground::run(&mut base);
        assert_eq!(notes(&mut base), ["connected"]);
    });
}

#[test]
fn a_unix_socket_connects_at_once_and_is_told_from_the_loop() {
    on_systems(|ground| {
        let mut base = ground.base();
        let path = TemporaryPath::new();
        let listener = UnixListener::bind(&path.0).unwrap();
        let bev = attempt(&mut base);
        bev.connect_unix(&mut base, &path.0).unwrap();
        assert_eq!(notes(&mut base), Vec::<String>::new());
        ground::run(&mut base);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["connected"]);
        bev.set_handler(&mut base, Witness);
        bev.enable(&mut base, Dirs::READ).unwrap();
        listener.accept().unwrap().0.write_all(b"hi").unwrap();
        settle(&mut base);
        assert!(notes(&mut base).contains(&"R2".to_owned()));
    });
}

#[test]
fn an_immediate_refusal_is_told_from_the_loop_and_other_failures_by_the_call() {
    on_systems(|ground| {
        let mut base = ground.base();
        let path = TemporaryPath::new();
        let bev = attempt(&mut base);
        let missing = bev.connect_unix(&mut base, &path.0);
        assert!(
            matches!(missing, Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound)
        );
        drop(UnixListener::bind(&path.0).unwrap());
        bev.connect_unix(&mut base, &path.0).unwrap();
        ground::run(&mut base);
        let told = notes(&mut base);
        assert!(told.len() == 1 && told[0].contains("111"), "{told:?}");
        assert_eq!(bev.enabled(&base), Some(Dirs::empty()));
    });
}

#[test]
fn a_host_is_looked_up() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bev = attempt(&mut base);
        // Where "localhost" is also ::1, that address refuses, and the next one is tried.
        bev.connect_host(&mut base, "localhost", port).unwrap();
        ground::run(&mut base);
        assert_eq!(notes(&mut base), ["connected"]);
    });
}

#[test]
fn a_host_that_is_not_found_is_told_from_the_loop() {
    on_systems(|ground| {
        let mut base = ground.base();
        let bev = attempt(&mut base);
        bev.connect_host(&mut base, "no such host", 80).unwrap();
        assert_eq!(notes(&mut base), Vec::<String>::new());
        ground::run(&mut base);
        let told = notes(&mut base);
        assert!(told.len() == 1 && told[0].contains("Lookup"), "{told:?}");
    });
}

#[test]
fn a_host_all_of_whose_addresses_refuse_is_told_once() {
    on_systems(|ground| {
        let mut base = ground.base();
        let bev = attempt(&mut base);
        bev.connect_host(&mut base, "localhost", closed_port().port())
            .unwrap();
        ground::run(&mut base);
        settle(&mut base);
        let told = notes(&mut base);
        assert!(
            told.len() == 1 && told[0].starts_with("error none"),
            "{told:?}"
        );
    });
}

#[test]
fn a_socket_that_is_given_may_be_connected() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let bev = BufferEvent::new(&mut base, socket).unwrap();
        bev.set_handler(&mut base, Attempt);
        bev.await_connected(&mut base, Connect::Started).unwrap();
        ground::run(&mut base);
        assert_eq!(notes(&mut base), ["connected"]);
        let none = BufferEvent::unconnected(&mut base);
        assert!(matches!(
            none.await_connected(&mut base, Connect::Started),
            Err(Error::Io(_))
        ));
    });
}

#[test]
fn a_bufferevent_may_be_freed_while_it_connects() {
    on_systems(|ground| {
        let mut base = ground.base();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bev = attempt(&mut base);
        bev.connect(&mut base, listener.local_addr().unwrap())
            .unwrap();
        bev.free(&mut base);
        assert_eq!(base.run().unwrap(), ferrevent::LoopEnd::Empty);
        assert_eq!(notes(&mut base), Vec::<String>::new());
    });
}

#[test]
fn every_outcome_of_a_simulated_attempt_is_told_once() {
    for (dial, expected) in [
        (Dial::Now, "connected"),
        (Dial::After(5 * MS), "connected"),
        (Dial::RefusedNow, "error none"),
        (Dial::RefusedAfter(5 * MS), "error none"),
    ] {
        let world = World::new(3, Faults::none());
        let mut base = Ground::Simulated(world.clone()).base();
        let (bev, begun) = dialled(&world, &mut base, dial);
        bev.await_connected(&mut base, begun).unwrap();
        ground::run(&mut base);
        settle(&mut base);
        let told = notes(&mut base);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
}

#[test]
fn a_connect_timeout_is_told_once_and_the_attempt_goes_on() {
    let world = World::new(3, Faults::none());
    let mut base = Ground::Simulated(world.clone()).base();
    let (bev, begun) = dialled(&world, &mut base, Dial::After(100 * MS));
    bev.set_timeouts(&mut base, None, Some(10 * MS));
    bev.await_connected(&mut base, begun).unwrap();
    ground::run(&mut base);
    assert_eq!(notes(&mut base), ["timeout writing"]);
    ground::run(&mut base);
    assert_eq!(notes(&mut base), ["connected"]);
}

#[test]
fn addresses_need_the_operating_system() {
    let mut base = Ground::Simulated(World::new(1, Faults::none())).base();
    let bev = BufferEvent::unconnected(&mut base);
    let refused = bev.connect(&mut base, closed_port());
    assert!(matches!(refused, Err(Error::NotOnSystem)));
    let refused = bev.connect_host(&mut base, "localhost", 80);
    assert!(matches!(refused, Err(Error::NotOnSystem)));
    let mut base = Base::new().unwrap();
    let refused = BufferEvent::builder().adopt(&mut base, 0);
    assert!(matches!(refused, Err(Error::OnSystem)));
}

fn dialled(world: &World, base: &mut Base, dial: Dial) -> (BufferEvent, Connect) {
    let fd = world.socket();
    let bev = BufferEvent::builder().adopt(base, fd).unwrap();
    bev.set_handler(base, Attempt);
    (bev, world.connect(fd, dial).unwrap())
}

/// A path for a socket, removed in the end.
struct TemporaryPath(std::path::PathBuf);

impl TemporaryPath {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferrevent-connect-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        // It may never have come to be.
        let _ = std::fs::remove_file(&self.0);
    }
}
