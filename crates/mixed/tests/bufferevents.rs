//! Bufferevents, on the libevent that the loader finds.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ferrevent_mixed::raw::{bufferevent, event_base};
use ferrevent_mixed::{Base, BufferEvent, Callbacks, Condition, Dirs, EolStyle, Error, Handler};

const CLOSE_ON_FREE: i32 = 1;
const READ: i16 = 2;

unsafe extern "C" {
    fn bufferevent_socket_new(base: *mut event_base, fd: i32, options: i32) -> *mut bufferevent;
    fn bufferevent_free(bev: *mut bufferevent);
    fn bufferevent_write(bev: *mut bufferevent, data: *const std::ffi::c_void, n: usize) -> i32;
    fn bufferevent_trigger(bev: *mut bufferevent, what: i16, options: i32);
}

/// Counts how often it is dropped.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A connection of which the base has one end.
fn connected(base: &mut Base) -> (BufferEvent, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    (BufferEvent::new(base, far).unwrap(), near)
}

#[test]
fn lines_come_and_go_and_the_end_is_told() {
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    let handler = Callbacks::new()
        .read(|base, bev| {
            while let Some(line) = bev.read_line(base, EolStyle::Crlf) {
                bev.write(base, [&line[..], b"!\n"].concat()).unwrap();
            }
        })
        .write(|base, _| _ = base.insert_state("written"))
        .event(|base, bev, condition| {
            assert!(matches!(condition, Condition::Eof { dirs } if dirs == Dirs::READ));
            assert_eq!(bev.input_len(base), Some(3));
            assert_eq!(bev.input(base).unwrap().to_vec(), b"thr");
            bev.free(base);
        });
    bev.set_handler(&mut base, handler);
    bev.enable(&mut base, Dirs::READ).unwrap();
    assert_eq!(bev.enabled(&base), Some(Dirs::READ | Dirs::WRITE));
    near.write_all(b"one\r\ntwo\nthr").unwrap();
    near.shutdown(std::net::Shutdown::Write).unwrap();
    base.run().unwrap();
    assert!(base.state::<&str>().is_some());
    let mut all = String::new();
    near.read_to_string(&mut all).unwrap();
    assert_eq!(all, "one!\ntwo!\n");
    assert!(!bev.exists(&base));
    assert!(matches!(bev.write(&mut base, "x"), Err(Error::Stale)));
    assert!(matches!(
        bev.enable(&mut base, Dirs::READ),
        Err(Error::Stale)
    ));
}

#[test]
fn a_handler_may_free_its_own_bufferevent() {
    struct Frees(Dropped);

    impl Handler for Frees {
        fn read(&mut self, base: &mut Base, bev: BufferEvent) {
            assert!(bev.free(base));
            assert!(!bev.free(base) && !bev.exists(base));
            assert_eq!(self.0.0.get(), 0, "it is running");
        }
    }

    let dropped = Rc::new(Cell::new(0));
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    bev.set_handler(&mut base, Frees(Dropped(dropped.clone())));
    bev.enable(&mut base, Dirs::READ).unwrap();
    near.write_all(b"x").unwrap();
    base.run().unwrap();
    assert_eq!(dropped.get(), 1);
    // What was not read when the socket was closed may come as a reset.
    assert!(matches!(near.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_handler_may_put_another_one_in_its_place() {
    let dropped = Rc::new(Cell::new(0));
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    let on_drop = Dropped(dropped.clone());
    bev.set_handler(
        &mut base,
        Callbacks::new().read(move |base, bev| {
            bev.set_handler(base, Callbacks::new().read(|base, bev| _ = bev.free(base)));
            assert_eq!(on_drop.0.get(), 0, "it is running");
            bev.trigger(base, Dirs::READ, true);
        }),
    );
    bev.enable(&mut base, Dirs::READ).unwrap();
    near.write_all(b"x").unwrap();
    base.run().unwrap();
    assert_eq!((dropped.get(), bev.exists(&base)), (1, false));
}

#[test]
fn what_c_frees_under_rust_is_noticed() {
    let dropped = Rc::new(Cell::new(0));
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    let on_drop = Dropped(dropped.clone());
    bev.set_handler(&mut base, Callbacks::new().read(move |_, _| _ = &on_drop));
    let raw = bev.as_raw(&base).unwrap().as_ptr();
    // SAFETY: not kept to: Rust owns it. That must not do harm.
    unsafe { bufferevent_free(raw) };
    // What libevent frees, it frees from the loop.
    base.run_nonblocking().unwrap();
    assert!(!bev.exists(&base));
    assert!(matches!(bev.write(&mut base, "x"), Err(Error::Stale)));
    assert_eq!((dropped.get(), bev.free(&mut base)), (1, false));
    base.run_nonblocking().unwrap();
    assert_eq!(near.read(&mut [0]).unwrap(), 0, "its socket is closed");
}

#[test]
fn what_c_frees_under_rust_is_noticed_as_others_come() {
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    let raw = bev.as_raw(&base).unwrap().as_ptr();
    // SAFETY: as above.
    unsafe { bufferevent_free(raw) };
    for _ in 0..3 {
        connected(&mut base);
    }
    base.run_nonblocking().unwrap();
    assert_eq!(near.read(&mut [0]).unwrap(), 0, "its socket is closed");
}

#[test]
fn c_may_free_in_a_callback_what_rust_has_lent_a_buffer_of() {
    let mut base = Base::new().unwrap();
    let (bev, _near) = connected(&mut base);
    let raw = bev.as_raw(&base).unwrap().as_ptr();
    let mut output = bev.output(&mut base).unwrap();
    // SAFETY: as above.
    unsafe { bufferevent_free(raw) };
    // SAFETY: the reference of `output` is one.
    unsafe { bufferevent_trigger(raw, READ, 0) };
    output.append(b"x").unwrap();
    drop(output);
    assert!(!bev.exists(&base));
}

#[test]
fn a_bufferevent_of_c_is_taken_over_and_given_back() {
    let mut base = Base::new().unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    // SAFETY: the base is live and the socket open.
    let raw = unsafe { bufferevent_socket_new(base.as_raw(), far.into_raw_fd(), CLOSE_ON_FREE) };
    // SAFETY: it is live, and C does not free it.
    let bev = unsafe { BufferEvent::from_raw(&mut base, raw) };
    let dropped = Rc::new(Cell::new(0));
    let on_drop = Dropped(dropped.clone());
    bev.set_handler(&mut base, Callbacks::new().read(move |_, _| _ = &on_drop));
    assert_eq!(bev.into_raw(&mut base).map(|raw| raw.as_ptr()), Some(raw));
    assert_eq!((dropped.get(), bev.exists(&base)), (1, false));
    // SAFETY: it is live: C has it back.
    unsafe { bufferevent_write(raw, b"y".as_ptr().cast(), 1) };
    base.run_nonblocking().unwrap();
    let mut byte = [0];
    near.read_exact(&mut byte).unwrap();
    // SAFETY: as above.
    unsafe { bufferevent_free(raw) };
    base.run_nonblocking().unwrap();
    assert_eq!((byte, near.read(&mut byte).unwrap()), (*b"y", 0));
}

#[test]
fn a_borrowed_bufferevent_is_only_forgotten() {
    let mut base = Base::new().unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    // SAFETY: the base is live and the socket open.
    let raw = unsafe { bufferevent_socket_new(base.as_raw(), far.into_raw_fd(), CLOSE_ON_FREE) };
    // SAFETY: it is live until Rust has forgotten it.
    let bev = unsafe { BufferEvent::borrow_raw(&mut base, raw) };
    bev.set_handler(
        &mut base,
        Callbacks::new().read(|base, bev| _ = bev.free(base)),
    );
    bev.enable(&mut base, Dirs::READ).unwrap();
    near.write_all(b"x").unwrap();
    base.run_once().unwrap();
    assert!(!bev.exists(&base));
    // SAFETY: it is live: nobody has freed it.
    unsafe { bufferevent_free(raw) };
    base.run_nonblocking().unwrap();
}

#[test]
fn a_handler_is_not_called_while_it_runs() {
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let mut base = Base::new().unwrap();
    let (bev, _near) = connected(&mut base);
    bev.set_handler(
        &mut base,
        Callbacks::new().read(move |base, bev| {
            let before = count.get();
            count.set(before + 1);
            if before == 0 {
                let raw = bev.as_raw(base).unwrap().as_ptr();
                // SAFETY: it is live. Without the option to defer it calls back at once.
                unsafe { bufferevent_trigger(raw, READ, 1 << 16) };
                assert_eq!(count.get(), 1);
            }
        }),
    );
    bev.trigger(&mut base, Dirs::READ, true);
    base.run_nonblocking().unwrap();
    base.run_nonblocking().unwrap();
    assert_eq!(calls.get(), 2, "it was told later");
}

#[test]
fn a_handler_that_panics_is_dropped() {
    let dropped = Rc::new(Cell::new(0));
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    let on_drop = Dropped(dropped.clone());
    bev.set_handler(
        &mut base,
        Callbacks::new().read(move |_, _| {
            let _ = &on_drop;
            panic!("on purpose");
        }),
    );
    bev.enable(&mut base, Dirs::READ).unwrap();
    near.write_all(b"x").unwrap();
    catch_unwind(AssertUnwindSafe(|| base.run())).unwrap_err();
    assert_eq!(dropped.get(), 1);
    near.write_all(b"y").unwrap();
    base.run_nonblocking().unwrap();
    assert_eq!(bev.input_len(&base), Some(2), "it goes on to read");
    assert!(bev.free(&mut base));
}

#[test]
fn a_key_outlives_its_base() {
    let mut base = Base::new().unwrap();
    let dropped = Rc::new(Cell::new(0));
    let (bev, mut near) = connected(&mut base);
    let on_drop = Dropped(dropped.clone());
    bev.set_handler(&mut base, Callbacks::new().read(move |_, _| _ = &on_drop));
    drop(base);
    assert_eq!((dropped.get(), near.read(&mut [0]).unwrap()), (1, 0));
    let other = Base::new().unwrap();
    assert!(!bev.exists(&other));
}

#[test]
fn connecting_is_told() {
    let mut base = Base::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bev = BufferEvent::unconnected(&mut base);
    bev.write(&mut base, "hello").unwrap();
    let handler = Callbacks::new().event(|base, bev, condition| {
        assert!(matches!(condition, Condition::Connected));
        bev.set_handler(base, Callbacks::new().write(|base, bev| _ = bev.free(base)));
    });
    bev.set_handler(&mut base, handler);
    bev.connect(&mut base, address).unwrap();
    base.run().unwrap();
    let (mut peer, _): (TcpStream, _) = listener.accept().unwrap();
    let mut all = String::new();
    peer.read_to_string(&mut all).unwrap();
    assert_eq!(all, "hello");

    drop(listener);
    let bev = BufferEvent::unconnected(&mut base);
    let handler = Callbacks::new().event(|base, bev, condition| {
        let Condition::Error {
            error: Error::Io(error),
            ..
        } = condition
        else {
            panic!("{condition:?}");
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        bev.free(base);
    });
    bev.set_handler(&mut base, handler);
    bev.connect(&mut base, address).unwrap();
    base.run().unwrap();
    assert!(!bev.exists(&base));
}

#[test]
fn a_socket_is_given_back() {
    let mut base = Base::new().unwrap();
    let (bev, mut near) = connected(&mut base);
    let socket = bev.into_socket(&mut base).unwrap();
    base.run_nonblocking().unwrap();
    let mut far = UnixStream::from(socket);
    far.write_all(b"x").unwrap();
    drop(far);
    let mut all = Vec::new();
    near.read_to_end(&mut all).unwrap();
    assert_eq!((all, bev.exists(&base)), (b"x".to_vec(), false));
}

#[test]
fn a_timeout_is_told_and_marks_are_kept() {
    let mut base = Base::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let bev = BufferEvent::builder()
        .watermark(Dirs::READ, 2, 100)
        .timeouts(Some(Duration::from_millis(5)), None)
        .deferred()
        .open(&mut base, far)
        .unwrap();
    assert_eq!(
        bev.watermark(&base, Dirs::READ)
            .map(|mark| (mark.low, mark.high)),
        Some((2, 100))
    );
    let handler = Callbacks::new().event(|base, bev, condition| {
        assert!(matches!(condition, Condition::Timeout { dirs } if dirs == Dirs::READ));
        bev.free(base);
    });
    bev.set_handler(&mut base, handler);
    bev.enable(&mut base, Dirs::READ).unwrap();
    base.run().unwrap();
    drop(near);
    assert!(!bev.exists(&base));
}

#[test]
fn a_pair_carries_bytes() {
    let mut base = Base::new().unwrap();
    let [one, other] = BufferEvent::pair(&mut base);
    other.set_handler(
        &mut base,
        Callbacks::new().read(|base, bev| {
            assert_eq!(bev.input_len(base), Some(5));
            bev.free(base);
        }),
    );
    other.enable(&mut base, Dirs::READ).unwrap();
    one.write(&mut base, "hello").unwrap();
    base.run().unwrap();
    assert!(!other.exists(&base) && one.exists(&base));
}

#[test]
fn the_ends_of_a_pair_do_not_connect() {
    let mut base = Base::new().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    let refuses = |base: &mut Base, bev: BufferEvent| {
        let refused = bev.connect(base, address);
        let unsupported = std::io::ErrorKind::Unsupported;
        assert!(matches!(refused, Err(Error::Io(error)) if error.kind() == unsupported));
        assert_eq!(bev.fd(base), None);
    };
    let [one, other] = BufferEvent::pair(&mut base);
    refuses(&mut base, one);
    // What C has made is known by its other end.
    let raw = other.into_raw(&mut base).unwrap();
    // SAFETY: it is live, and nobody's now.
    let other = unsafe { BufferEvent::from_raw(&mut base, raw.as_ptr()) };
    refuses(&mut base, other);
    other.enable(&mut base, Dirs::READ).unwrap();
    one.write(&mut base, "hello").unwrap();
    for _ in 0..3 {
        base.run_nonblocking().unwrap();
    }
    assert_eq!(other.input_len(&base), Some(5), "they are a pair as before");
    other.free(&mut base);
    refuses(&mut base, one);
}
