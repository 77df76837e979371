//! The simulated system behaves like the real one where that matters, and the same each time.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::time::Duration;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{
    Connect, Driver, Fd, Interest, Kind, Readiness, Ready, Token, Transport,
};
use ferrevent_sim::{Dial, Faults, SimDriver, SimTransport, World};

const SECOND: Duration = Duration::from_secs(1);
const BOTH: Interest = Interest::READ.union(Interest::WRITE);

fn token(fd: Fd) -> Token {
    Token { fd, generation: 1 }
}

fn wait(driver: &mut SimDriver, timeout: Duration) -> Vec<Ready> {
    let mut ready = Vec::new();
    driver.wait(Some(timeout), &mut ready).unwrap();
    ready
}

fn readiness(driver: &mut SimDriver) -> Readiness {
    let ready = wait(driver, Duration::ZERO);
    assert!(ready.len() <= 1);
    ready
        .first()
        .map_or(Readiness::empty(), |ready| ready.readiness)
}

fn read(transport: &SimTransport, fd: Fd) -> Result<Vec<u8>, ErrorKind> {
    let mut buffer = Buffer::new();
    transport
        .read(fd, Kind::Stream, &mut buffer, usize::MAX)
        .map_err(|error| error.kind())?;
    Ok(buffer.to_vec())
}

fn write(transport: &SimTransport, fd: Fd, bytes: &[u8]) -> Result<usize, ErrorKind> {
    let mut buffer = Buffer::new();
    buffer.append(bytes).unwrap();
    let sent = transport.write(fd, Kind::Stream, &mut buffer, usize::MAX);
    sent.map(|sent| sent.bytes).map_err(|error| error.kind())
}

fn perfect() -> (World, SimDriver, SimTransport) {
    let world = World::new(1, Faults::none());
    (world.clone(), world.driver(), world.transport())
}

#[test]
fn the_clock_jumps_to_the_timeout() {
    let (world, mut driver, _) = perfect();
    let before = driver.now();
    assert_eq!(wait(&mut driver, 3600 * SECOND), []);
    assert_eq!(driver.now() - before, 3_600_000_000_000);
    world.advance(SECOND);
    assert_eq!(driver.now() - before, 3_601_000_000_000);
}

#[test]
fn a_wait_that_would_never_end_says_so() {
    let (world, mut driver, _) = perfect();
    let (fd, _peer) = world.pair();
    driver.register(token(fd), Interest::READ).unwrap();
    let error = driver.wait(None, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    world.wake();
    driver.wait(None, &mut Vec::new()).unwrap();
    let socket = world.socket();
    world.connect(socket, Dial::Never).unwrap();
    assert_eq!(
        driver.wait(None, &mut Vec::new()).unwrap_err().kind(),
        ErrorKind::Deadlock
    );
}

#[test]
fn levels_hold_and_edges_come_once() {
    let (world, mut driver, transport) = perfect();
    let (fd, peer) = world.pair();
    driver.register(token(fd), Interest::READ).unwrap();
    peer.send(b"x").unwrap();
    assert_eq!(readiness(&mut driver), Readiness::READ);
    assert_eq!(readiness(&mut driver), Readiness::READ);
    // A registration anew reports what holds.
    driver.reregister(token(fd), BOTH | Interest::EDGE).unwrap();
    assert_eq!(readiness(&mut driver), Readiness::READ | Readiness::WRITE);
    assert_eq!(readiness(&mut driver), Readiness::empty());
    // A change reports all that holds, not only what is new.
    peer.send(b"y").unwrap();
    assert_eq!(readiness(&mut driver), Readiness::READ | Readiness::WRITE);
    assert_eq!(read(&transport, fd).unwrap(), b"xy");
    assert_eq!(read(&transport, fd), Err(ErrorKind::WouldBlock));
    assert_eq!(readiness(&mut driver), Readiness::empty());
    // What nobody waits for is no edge.
    driver
        .reregister(token(fd), Interest::WRITE | Interest::EDGE)
        .unwrap();
    assert_eq!(readiness(&mut driver), Readiness::WRITE);
    peer.send(b"z").unwrap();
    assert_eq!(readiness(&mut driver), Readiness::empty());
}

#[test]
fn a_full_connection_reports_room_from_a_third_on() {
    let (world, mut driver, transport) = perfect();
    let capacity = Faults::none().capacity;
    let (fd, peer) = world.pair();
    driver
        .register(token(fd), Interest::WRITE | Interest::EDGE)
        .unwrap();
    assert_eq!(readiness(&mut driver), Readiness::WRITE);
    assert_eq!(write(&transport, fd, &vec![1; capacity + 10]), Ok(capacity));
    assert_eq!(write(&transport, fd, b"x"), Err(ErrorKind::WouldBlock));
    assert_eq!(peer.receive(10).len(), 10);
    assert_eq!(readiness(&mut driver), Readiness::empty());
    peer.receive(capacity / 3);
    assert_eq!(readiness(&mut driver), Readiness::WRITE);
    assert_eq!(readiness(&mut driver), Readiness::empty());
    let mut sent = 0;
    while let Ok(count @ 1..) = peer.send(&[0; 1000]) {
        sent += count;
    }
    assert_eq!(sent, capacity);
}

#[test]
fn half_closed_connections_still_carry_bytes() {
    let (world, mut driver, transport) = perfect();
    let (fd, peer) = world.pair();
    driver
        .register(token(fd), Interest::READ | Interest::CLOSED)
        .unwrap();
    peer.send(b"last").unwrap();
    peer.shutdown();
    assert_eq!(readiness(&mut driver), Readiness::READ | Readiness::CLOSED);
    assert_eq!(read(&transport, fd).unwrap(), b"last");
    assert_eq!(read(&transport, fd).unwrap(), b"");
    assert_eq!(read(&transport, fd).unwrap(), b"");
    assert_eq!(write(&transport, fd, b"answer"), Ok(6));
    assert!(!peer.at_end());
    assert_eq!(peer.receive(100), b"answer");
    world.shutdown(fd).unwrap();
    assert!(peer.at_end());
    assert_eq!(write(&transport, fd, b"x"), Err(ErrorKind::BrokenPipe));
    assert!(peer.send(b"x").is_err());
    // Both directions shut is a hang-up, and a failure for who did not ask for the close.
    driver.reregister(token(fd), Interest::READ).unwrap();
    assert_eq!(readiness(&mut driver), Readiness::READ | Readiness::FAILED);
}

#[test]
fn a_reset_comes_after_the_bytes_and_once() {
    let (world, mut driver, transport) = perfect();
    let (fd, peer) = world.pair();
    driver
        .register(token(fd), Interest::READ | Interest::EDGE)
        .unwrap();
    assert_eq!(readiness(&mut driver), Readiness::empty());
    peer.send(b"before").unwrap();
    peer.reset();
    assert_eq!(readiness(&mut driver), Readiness::READ | Readiness::FAILED);
    assert_eq!(read(&transport, fd).unwrap(), b"before");
    assert_eq!(read(&transport, fd), Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&transport, fd).unwrap(), b"");
    assert_eq!(write(&transport, fd, b"x"), Err(ErrorKind::BrokenPipe));

    let (fd, peer) = world.pair();
    peer.close();
    assert_eq!(write(&transport, fd, b"into the void"), Ok(13));
    assert_eq!(write(&transport, fd, b"x"), Err(ErrorKind::BrokenPipe));
}

#[test]
fn closing_with_unread_bytes_resets() {
    let (world, _, transport) = perfect();
    let (fd, peer) = world.pair();
    peer.send(b"unread").unwrap();
    transport.close(fd);
    assert!(peer.was_reset());
    let (fd, peer) = world.pair();
    transport.close(fd);
    assert!(peer.at_end() && !peer.was_reset());
    peer.send(b"x").unwrap();
    assert!(peer.was_reset());
    assert_eq!(world.open_descriptors(), 0);
}

#[test]
fn closed_descriptors_are_forgotten_and_their_numbers_reused() {
    let (world, mut driver, transport) = perfect();
    let (fd, peer) = world.pair();
    driver.register(token(fd), Interest::READ).unwrap();
    assert_eq!(
        driver
            .register(token(fd), Interest::READ)
            .unwrap_err()
            .kind(),
        ErrorKind::AlreadyExists
    );
    peer.send(b"x").unwrap();
    transport.close(fd);
    assert_eq!(readiness(&mut driver), Readiness::empty());
    assert!(driver.register(token(fd), Interest::READ).is_err());
    assert_eq!(world.pair().0, fd);
    assert_eq!(
        driver
            .reregister(token(fd), Interest::READ)
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        driver.deregister(fd).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn connections_begin_in_every_way() {
    let (world, mut driver, transport) = perfect();
    let mut attempt = |dial| {
        let fd = world.socket();
        let began = world.connect(fd, dial).map_err(|error| error.kind());
        driver.register(token(fd), Interest::WRITE).unwrap();
        let at = driver.now();
        let ready = wait(&mut driver, SECOND);
        let waited = driver.now() - at;
        let error = transport.take_error(fd).map_err(|error| error.kind());
        transport.close(fd);
        (
            began,
            ready.first().map(|ready| ready.readiness),
            waited >= 500_000_000,
            error,
        )
    };
    let half = SECOND / 2;
    let (write, failed) = (
        Some(Readiness::WRITE),
        Some(Readiness::WRITE | Readiness::FAILED),
    );
    assert_eq!(
        attempt(Dial::Now),
        (Ok(Connect::Done), write, false, Ok(()))
    );
    assert_eq!(
        attempt(Dial::After(half)),
        (Ok(Connect::Started), write, true, Ok(()))
    );
    assert_eq!(attempt(Dial::RefusedNow).0, Ok(Connect::Refused));
    let refused = Err(ErrorKind::ConnectionRefused);
    assert_eq!(
        attempt(Dial::RefusedAfter(half)),
        (Ok(Connect::Started), failed, true, refused)
    );
    assert_eq!(
        attempt(Dial::Never),
        (Ok(Connect::Started), None, true, Ok(()))
    );
    assert_eq!(
        attempt(Dial::Unreachable).0,
        Err(ErrorKind::NetworkUnreachable)
    );
}

#[test]
fn bytes_sent_while_connecting_arrive_afterwards() {
    let (world, mut driver, transport) = perfect();
    let fd = world.socket();
    world.connect(fd, Dial::After(SECOND)).unwrap();
    let peer = world.peer(fd).unwrap();
    peer.send(b"early").unwrap();
    driver.register(token(fd), BOTH | Interest::EDGE).unwrap();
    assert_eq!(write(&transport, fd, b"x"), Err(ErrorKind::WouldBlock));
    assert_eq!(readiness(&mut driver), Readiness::empty());
    assert_eq!(
        wait(&mut driver, 2 * SECOND)[0].readiness,
        Readiness::READ | Readiness::WRITE
    );
    assert_eq!(read(&transport, fd).unwrap(), b"early");
    assert!(world.connect(fd, Dial::Now).is_err());
}

#[test]
fn listeners_hand_out_connections() {
    let (world, mut driver, transport) = perfect();
    let listener = world.listen();
    driver.register(token(listener), Interest::READ).unwrap();
    assert_eq!(
        world.accept(listener).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let peer = world.dial(listener).unwrap();
    peer.send(b"hello").unwrap();
    let lost = world.dial(listener).unwrap();
    assert_eq!(readiness(&mut driver), Readiness::READ);
    let fd = world.accept(listener).unwrap();
    assert_eq!(read(&transport, fd).unwrap(), b"hello");
    transport.close(listener);
    assert!(lost.was_reset());
    assert!(world.dial(listener).is_err());
}

#[test]
fn delayed_bytes_arrive_in_order() {
    let world = World::new(
        3,
        Faults {
            max_delay: SECOND,
            ..Faults::none()
        },
    );
    let (mut driver, transport) = (world.driver(), world.transport());
    let (fd, peer) = world.pair();
    driver.register(token(fd), Interest::READ).unwrap();
    let expected: Vec<u8> = (0..100).collect();
    for byte in &expected {
        peer.send(&[*byte]).unwrap();
    }
    peer.shutdown();
    let mut got = Vec::new();
    loop {
        assert_eq!(wait(&mut driver, 2 * SECOND).len(), 1);
        match read(&transport, fd).unwrap() {
            bytes if bytes.is_empty() => break,
            bytes => got.extend(bytes),
        }
    }
    assert_eq!(got, expected);
}

#[test]
fn tasks_run_in_time_and_may_use_the_world() {
    let (world, mut driver, _) = perfect();
    let (fd, peer) = world.pair();
    driver.register(token(fd), Interest::READ).unwrap();
    let start = world.now();
    world.after(2 * SECOND, move |world| {
        world.after(SECOND, move |_| assert_eq!(peer.send(b"x").unwrap(), 1));
    });
    driver.wait(None, &mut Vec::new()).unwrap();
    assert_eq!(world.now() - start, 3_000_000_000);
}

/// Sends bytes from one socket to another, the way a program would, and gives the trace.
fn transfer(seed: u64, trigger: Interest) -> Vec<String> {
    let world = World::new(seed, Faults::wild());
    let (mut driver, transport) = (world.driver(), world.transport());
    let (from, to) = world.local_pair();
    let expected: Vec<u8> = (0..40_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let (mut output, mut input) = (Buffer::new(), Buffer::new());
    output.append(&expected).unwrap();
    driver
        .register(token(from), Interest::WRITE | trigger)
        .unwrap();
    driver
        .register(token(to), Interest::READ | trigger)
        .unwrap();
    let mut ended = false;
    while !ended {
        let mut ready = Vec::new();
        driver.wait(None, &mut ready).unwrap();
        for Ready { token, .. } in ready {
            if token.fd == from && !output.is_empty() {
                while !output.is_empty() {
                    match transport.write(from, Kind::Stream, &mut output, usize::MAX) {
                        Ok(sent) if sent.blocked => break,
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                            break;
                        }
                    }
                }
                if output.is_empty() {
                    world.shutdown(from).unwrap();
                    driver.deregister(from).unwrap();
                }
            }
            while token.fd == to && !ended {
                match transport.read(to, Kind::Stream, &mut input, usize::MAX) {
                    Ok(received) => ended = received.bytes == 0,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
        }
    }
    assert_eq!(input.to_vec(), expected);
    world.trace()
}

#[test]
fn correct_programs_get_through_all_faults_with_either_trigger() {
    for seed in 0..200 {
        transfer(seed, Interest::EDGE);
        transfer(seed, Interest::empty());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(
            transfer(seed, Interest::EDGE),
            transfer(seed, Interest::EDGE)
        );
    }
    assert_ne!(transfer(1, Interest::EDGE), transfer(2, Interest::EDGE));
}
