//! Bases, events, listeners, buffers and state, on the libevent that the loader finds.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ferrevent_mixed::raw::{evconnlistener, event, event_base};
use ferrevent_mixed::{Base, Buffer, EolStyle, Error, Event, Listener, LoopEnd, What};

const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
/// With libevent only one base of a process has signals at a time.
static SIGNALS: Mutex<()> = Mutex::new(());

unsafe extern "C" {
    fn event_base_new() -> *mut event_base;
    fn event_base_free(base: *mut event_base);
    fn event_base_loop(base: *mut event_base, flags: i32) -> i32;
    fn event_new(
        base: *mut event_base,
        fd: i32,
        what: i16,
        call: unsafe extern "C" fn(i32, i16, *mut c_void),
        arg: *mut c_void,
    ) -> *mut event;
    fn event_free(event: *mut event);
    fn evconnlistener_set_cb(
        listener: *mut evconnlistener,
        call: unsafe extern "C" fn(*mut evconnlistener, i32, *mut c_void, i32, *mut c_void),
        arg: *mut c_void,
    );
    fn evconnlistener_enable(listener: *mut evconnlistener) -> i32;
    fn evconnlistener_free(listener: *mut evconnlistener);
    fn raise(signal: i32) -> i32;
}

/// Counts how often it is dropped.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn counter() -> Rc<Cell<u32>> {
    Rc::default()
}

#[test]
fn a_timer_runs_once_and_its_closure_is_dropped() {
    let mut base = Base::new().unwrap();
    let (ran, dropped) = (counter(), counter());
    let (count, on_drop) = (ran.clone(), Dropped(dropped.clone()));
    let event = base.after(Duration::from_millis(1), move |_| {
        let _ = &on_drop;
        count.set(count.get() + 1);
    });
    assert!(
        event
            .pending(&base)
            .is_some_and(|pending| pending.remaining.is_some())
    );
    assert_eq!(base.run().unwrap(), LoopEnd::Empty);
    assert_eq!((ran.get(), dropped.get()), (1, 1));
    assert!(!event.exists(&base) && !event.free(&mut base));
    assert!(matches!(event.add(&mut base, None), Err(Error::Stale)));
}

#[test]
fn an_event_may_be_freed_in_its_own_closure() {
    let mut base = Base::new().unwrap();
    let (ran, dropped) = (counter(), counter());
    let (count, on_drop) = (ran.clone(), Dropped(dropped.clone()));
    base.every(Duration::from_millis(1), move |base, event| {
        count.set(count.get() + 1);
        if count.get() == 3 {
            assert!(event.free(base));
            assert_eq!(on_drop.0.get(), 0, "it is running");
        }
    });
    assert_eq!(base.run().unwrap(), LoopEnd::Empty);
    assert_eq!((ran.get(), dropped.get()), (3, 1));
}

#[test]
fn a_signal_event_may_be_freed_in_its_own_closure() {
    let _turn = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut base = Base::new().unwrap();
    let (ran, dropped) = (counter(), counter());
    let (count, on_drop) = (ran.clone(), Dropped(dropped.clone()));
    base.on_signal(SIGUSR1, move |base, event| {
        count.set(count.get() + 1);
        event.free(base);
        assert_eq!(on_drop.0.get(), 0, "it is running");
    })
    .unwrap();
    // libevent looks at the event between the calls for the two.
    for _ in 0..2 {
        // SAFETY: the signal is caught.
        unsafe { raise(SIGUSR1) };
    }
    assert_eq!(base.run().unwrap(), LoopEnd::Empty);
    assert_eq!((ran.get(), dropped.get()), (1, 1));
    assert!(matches!(
        base.on_signal(-1, |_, _| {}),
        Err(Error::Signal(-1))
    ));
}

#[test]
fn a_signal_event_may_be_deleted_in_its_own_closure_and_added_again() {
    let _turn = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut base = Base::new().unwrap();
    let ran = counter();
    let count = ran.clone();
    let event = base
        .on_signal(SIGUSR2, move |base, event| {
            count.set(count.get() + 1);
            assert!(event.del(base));
            assert!(event.pending(base).is_none());
        })
        .unwrap();
    for round in 1..=2 {
        for _ in 0..3 {
            // SAFETY: the signal is caught.
            unsafe { raise(SIGUSR2) };
        }
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(ran.get(), round, "the rest is forgotten");
        event.add(&mut base, None).unwrap();
    }
    assert!(event.del(&mut base) && event.free(&mut base));
}

#[test]
fn closures_are_dropped_once_with_the_base() {
    let dropped = counter();
    let mut base = Base::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let on_drop = Dropped(dropped.clone());
    let event = Event::new(&mut base, &near, What::READ, move |_, _, _| _ = &on_drop);
    event.add(&mut base, None).unwrap();
    let on_drop = Dropped(dropped.clone());
    base.defer(move |_| _ = &on_drop);
    let on_drop = Dropped(dropped.clone());
    Listener::bind(
        &mut base,
        "127.0.0.1:0".parse().unwrap(),
        move |_, _, _, _| _ = &on_drop,
    )
    .unwrap();
    base.insert_state(Dropped(dropped.clone()));
    drop(base);
    assert_eq!(dropped.get(), 4);
}

#[test]
fn a_closure_that_is_dropped_may_use_the_base() {
    struct AddsOne(Rc<RefCell<Option<Base>>>, Rc<Cell<u32>>);

    impl Drop for AddsOne {
        fn drop(&mut self) {
            if let Some(base) = &mut *self.0.borrow_mut() {
                let on_drop = Dropped(self.1.clone());
                base.after(Duration::from_secs(1), move |_| _ = &on_drop);
            }
        }
    }

    let dropped = counter();
    let mut base = Base::new().unwrap();
    // SAFETY: the base lives as long as this handle is used.
    let handle = unsafe { Base::from_raw(base.as_raw()) };
    let handle = Rc::new(RefCell::new(Some(handle)));
    let adds = AddsOne(handle.clone(), dropped.clone());
    base.after(Duration::from_secs(1), move |_| _ = &adds);
    drop(base);
    assert_eq!(
        dropped.get(),
        1,
        "what is made while the base ends is freed too"
    );
}

#[test]
fn a_base_of_c_is_released_before_c_frees_it() {
    // SAFETY: it has no preconditions.
    let raw = unsafe { event_base_new() };
    let dropped = counter();
    // SAFETY: the base is live until it is freed below.
    let mut base = unsafe { Base::from_raw(raw) };
    let on_drop = Dropped(dropped.clone());
    let event = base.every(Duration::from_secs(1), move |_, _| _ = &on_drop);
    drop(base);
    // SAFETY: as above.
    let base = unsafe { Base::from_raw(raw) };
    assert!(event.exists(&base), "all handles of a base know the same");
    base.release();
    assert_eq!(dropped.get(), 1);
    // SAFETY: it came of `event_base_new`, and Rust has nothing on it.
    unsafe { event_base_free(raw) };
}

#[test]
fn c_runs_the_loop() {
    // SAFETY: it has no preconditions.
    let raw = unsafe { event_base_new() };
    let ran = counter();
    // SAFETY: the base is live until it is freed below.
    let mut base = unsafe { Base::from_raw(raw) };
    let count = ran.clone();
    base.after(Duration::ZERO, move |base| {
        let count = count.clone();
        base.defer(move |base| {
            assert!(matches!(base.run(), Err(Error::Running)));
            count.set(1);
        });
    });
    // SAFETY: the base is live.
    assert_eq!(unsafe { event_base_loop(raw, 0) }, 1);
    assert_eq!(ran.get(), 1);
    base.release();
    // SAFETY: it came of `event_base_new`, and Rust has nothing on it.
    unsafe { event_base_free(raw) };
}

#[test]
fn an_event_of_c_keeps_the_callback_of_c() {
    unsafe extern "C" fn count(_: i32, _: i16, arg: *mut c_void) {
        // SAFETY: the test passes a counter that outlives the event.
        unsafe { *arg.cast::<u32>() += 1 };
    }

    let mut base = Base::new().unwrap();
    let mut calls = 0_u32;
    // SAFETY: the base is live, and the counter outlives the event.
    let raw = unsafe { event_new(base.as_raw(), -1, 0, count, (&raw mut calls).cast()) };
    // SAFETY: the event is live and nobody else frees it.
    let event = unsafe { Event::from_raw(&mut base, raw) };
    event.add(&mut base, Some(Duration::ZERO)).unwrap();
    base.run().unwrap();
    assert_eq!(calls, 1);
    assert_eq!(event.into_raw(&mut base).map(|raw| raw.as_ptr()), Some(raw));
    assert!(!event.exists(&base));
    let ours = base.after(Duration::from_secs(1), |_| {});
    assert!(
        ours.into_raw(&mut base).is_none(),
        "C could not free the closure"
    );
    // SAFETY: it has been given back.
    unsafe { event_free(raw) };
}

#[test]
fn a_panic_passes_through_the_loop_of_rust() {
    let mut base = Base::new().unwrap();
    let dropped = counter();
    let on_drop = Dropped(dropped.clone());
    base.after(Duration::ZERO, move |_| {
        let _ = &on_drop;
        panic!("on purpose");
    });
    base.after(Duration::from_millis(1), |base| _ = base.insert_state(7));
    let panic = catch_unwind(AssertUnwindSafe(|| base.run())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    assert_eq!(dropped.get(), 1);
    base.run().unwrap();
    assert_eq!(
        base.state::<i32>().as_deref(),
        Some(&7),
        "the base can be used on"
    );
}

#[test]
fn an_event_whose_closure_has_panicked_is_freed_before_what_that_owns() {
    /// Stands for a socket of the closure, and sees whether the loop still watches it when it is closed.
    struct Socket(Base, Rc<Cell<Event>>, Rc<Cell<Option<bool>>>);

    impl Drop for Socket {
        fn drop(&mut self) {
            self.2.set(Some(self.1.get().exists(&self.0)));
        }
    }

    let mut base = Base::new().unwrap();
    let (key, watched) = (Rc::new(Cell::default()), Rc::new(Cell::new(None)));
    // SAFETY: the base lives as long as this handle is used.
    let handle = unsafe { Base::from_raw(base.as_raw()) };
    let socket = Socket(handle, key.clone(), watched.clone());
    let (mut peer, end) = UnixStream::pair().unwrap();
    peer.write_all(b"x").unwrap();
    let what = What::READ | What::PERSIST;
    let event = Event::new(&mut base, &end, what, move |_, _, _| {
        let _ = &socket;
        panic!("on purpose");
    });
    key.set(event);
    event.add(&mut base, None).unwrap();
    catch_unwind(AssertUnwindSafe(|| base.run_once())).unwrap_err();
    assert_eq!(watched.get(), Some(false));
}

#[test]
fn state_that_is_lent_is_not_lent_twice() {
    let mut base = Base::new().unwrap();
    // SAFETY: the base lives as long as this handle.
    let mut other = unsafe { Base::from_raw(base.as_raw()) };
    assert_eq!(base.insert_state(1_u32), None);
    {
        let mut lent = base.state_mut::<u32>().unwrap();
        *lent += 1;
        assert!(other.state::<u32>().is_none());
    }
    {
        let seen = base.state::<u32>().unwrap();
        assert_eq!((*seen, other.state::<u32>().as_deref()), (2, Some(&2)));
        assert!(other.state_mut::<u32>().is_none());
    }
    base.with_state(|base, value: &mut u32| {
        assert!(base.state::<u32>().is_none());
        *value += 1;
    })
    .unwrap();
    assert_eq!(base.remove_state::<u32>(), Some(3));
}

#[test]
fn a_remote_reaches_the_loop_and_ends_with_it() {
    let mut base = Base::new().unwrap();
    let remote = base.remote();
    let ours = remote.clone();
    let worker = thread::spawn(move || {
        remote.post(|base| _ = base.insert_state(42)).unwrap();
        remote.post(Base::loop_break).unwrap();
    });
    assert_eq!(base.run().unwrap(), LoopEnd::Stopped);
    worker.join().unwrap();
    assert_eq!(base.remove_state::<i32>(), Some(42));

    let gone = ours.clone();
    drop(ours);
    gone.post(|_| {}).unwrap();
    drop(gone);
    assert_eq!(
        base.run().unwrap(),
        LoopEnd::Empty,
        "nobody is left who could post"
    );

    let late = base.remote();
    drop(base);
    assert!(matches!(late.post(|_| {}), Err(Error::BaseGone)));
}

#[test]
fn a_listener_takes_connections_and_may_be_freed_in_its_closure() {
    let mut base = Base::new().unwrap();
    let dropped = counter();
    let on_drop = Dropped(dropped.clone());
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(
        &mut base,
        anywhere,
        move |base, listener, mut stream, peer| {
            let _ = &on_drop;
            assert!(peer.ip().is_loopback());
            stream.write_all(b"!").unwrap();
            assert!(listener.free(base));
        },
    )
    .unwrap();
    let address = listener.address(&base).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    assert_eq!(base.run().unwrap(), LoopEnd::Empty);
    assert_eq!((dropped.get(), listener.exists(&base)), (1, false));
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"!");
}

#[test]
fn a_listener_that_c_has_got_loses_no_connection() {
    unsafe extern "C" fn greet(
        _: *mut evconnlistener,
        fd: i32,
        _: *mut c_void,
        _: i32,
        _: *mut c_void,
    ) {
        // SAFETY: the connection is handed over.
        let mut socket = unsafe { TcpStream::from_raw_fd(fd) };
        socket.write_all(b"!").unwrap();
    }

    let mut base = Base::new().unwrap();
    let given = Rc::new(Cell::new(None));
    let give = given.clone();
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&mut base, any, move |base, listener, _, _| {
        give.set(listener.into_raw(base));
    })
    .unwrap();
    let address = listener.address(&base).unwrap();
    let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    base.run_once().unwrap();
    base.run_nonblocking().unwrap();
    let raw = given.get().unwrap().as_ptr();
    // SAFETY: it is live, and has been given to C.
    unsafe { evconnlistener_set_cb(raw, greet, std::ptr::null_mut()) };
    // SAFETY: as above.
    unsafe { evconnlistener_enable(raw) };
    base.run_nonblocking().unwrap();
    let heard = clients.map(|mut client| {
        let limit = Duration::from_secs(10);
        client.set_read_timeout(Some(limit)).unwrap();
        client.read(&mut [0]).unwrap()
    });
    assert_eq!(heard, [0, 1, 1], "the first one was dropped by the closure");
    // SAFETY: as above.
    unsafe { evconnlistener_free(raw) };
}

#[test]
fn buffers_are_read_by_lines_and_bytes() {
    let mut buffer = Buffer::new();
    assert_eq!(buffer.read_line(EolStyle::Crlf).unwrap(), None);
    assert_eq!(buffer.front(), b"");
    assert_eq!(buffer.pullup(None), Some(&b""[..]));
    buffer.append(b"one\r\ntwo\nthr").unwrap();
    buffer.prepend(b"0").unwrap();
    assert_eq!(buffer.search(b"tw", 0, None), Some(6));
    assert_eq!(buffer.search(b"tw", 0, Some(7)), None);
    assert_eq!(buffer.search(b"tw", 99, None), None);
    assert_eq!(
        buffer.read_line(EolStyle::Crlf).unwrap().as_deref(),
        Some(&b"0one"[..])
    );
    assert_eq!(buffer.byte(0), Some(b't'));
    assert_eq!(buffer.pullup(Some(3)), Some(&b"two"[..]));
    assert_eq!(buffer.pullup(Some(99)), None);
    assert!(b"two\nthr".starts_with(buffer.front()) && !buffer.front().is_empty());
    assert_eq!(
        buffer.read_line(EolStyle::Crlf).unwrap().as_deref(),
        Some(&b"two"[..])
    );
    assert_eq!(buffer.read_line(EolStyle::Crlf).unwrap(), None);
    let mut other = Buffer::new();
    assert_eq!(other.append_from(&mut buffer, 2).unwrap(), 2);
    other.append_buffer(&mut buffer).unwrap();
    assert_eq!((other.to_vec(), buffer.is_empty()), (b"thr".to_vec(), true));
    let raw = other.into_raw();
    // SAFETY: it was given away just now, by this very buffer.
    let again = unsafe { ferrevent_mixed::OwnedBuffer::from_raw(raw) };
    assert_eq!(again.len(), 3);
}

#[test]
fn a_panic_under_a_loop_of_c_aborts_with_a_message() {
    let message = aborts("a_panic_under_a_loop_of_c_aborts_with_a_message", || {
        // SAFETY: it has no preconditions.
        let raw = unsafe { event_base_new() };
        // SAFETY: the base is never freed.
        let mut base = unsafe { Base::from_raw(raw) };
        base.after(Duration::ZERO, |_| panic!("on purpose"));
        // SAFETY: the base is live.
        unsafe { event_base_loop(raw, 0) };
    });
    assert!(message.contains("on purpose"), "{message}");
    assert!(message.contains("a callback has panicked"), "{message}");
}

#[test]
fn a_callback_on_another_thread_aborts_with_a_message() {
    let message = aborts("a_callback_on_another_thread_aborts_with_a_message", || {
        let mut base = Base::new().unwrap();
        base.after(Duration::ZERO, |_| {});
        let raw = base.as_raw().expose_provenance();
        let loops = thread::spawn(move || {
            // SAFETY: not kept to: the base belongs to another thread, which waits. That must be seen.
            unsafe { event_base_loop(std::ptr::with_exposed_provenance_mut(raw), 0) };
        });
        loops.join().unwrap();
    });
    assert!(message.contains("an event came on a thread"), "{message}");
}

#[test]
fn a_base_that_is_dropped_under_its_loop_aborts_with_a_message() {
    let message = aborts(
        "a_base_that_is_dropped_under_its_loop_aborts_with_a_message",
        || {
            let mut base = Base::new().unwrap();
            let raw = base.as_raw();
            let owner = Rc::new(RefCell::new(None));
            let drops = owner.clone();
            base.after(Duration::ZERO, move |_| drop(drops.take()));
            owner.replace(Some(base));
            // SAFETY: the base is live. That it is dropped meanwhile must be seen.
            unsafe { event_base_loop(raw, 0) };
        },
    );
    assert!(message.contains("under its running loop"), "{message}");
}

#[test]
fn a_callback_that_keeps_its_handle_aborts_with_a_message() {
    let message = aborts(
        "a_callback_that_keeps_its_handle_aborts_with_a_message",
        || {
            let mut base = Base::new().unwrap();
            let kept = Rc::new(RefCell::new(None));
            let keep = kept.clone();
            base.defer(move |base| {
                keep.replace(Some(std::mem::replace(base, Base::new().unwrap())));
            });
            base.run().unwrap();
        },
    );
    assert!(message.contains("has exchanged its handle"), "{message}");
}

/// Runs `scenario` in a process of its own, as the test of this name, and gives what that has said before it was aborted.
fn aborts(name: &str, scenario: impl FnOnce()) -> String {
    const CHILD: &str = "FERREVENT_MIXED_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        scenario();
        std::process::exit(0);
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(6), "{message}");
    assert!(message.contains("ferrevent-mixed: "), "{message}");
    message
}

#[test]
fn a_remote_goes_to_other_threads() {
    fn elsewhere<T: Send + Sync>() {}
    elsewhere::<ferrevent_mixed::Remote>();
}

#[test]
fn a_base_may_be_released_in_a_callback() {
    let mut base = Base::new().unwrap();
    let (ran, dropped) = (counter(), counter());
    for _ in 0..2 {
        let (count, on_drop) = (ran.clone(), Dropped(dropped.clone()));
        base.after(Duration::ZERO, move |base| {
            count.set(count.get() + 1);
            base.insert_state(Dropped(on_drop.0.clone()));
            // SAFETY: the base is live: its loop is running.
            unsafe { Base::from_raw(base.as_raw()) }.release();
        });
    }
    base.run().unwrap();
    assert_eq!(
        (ran.get(), dropped.get()),
        (1, 3),
        "the other one was freed"
    );
    base.insert_state(Dropped(dropped.clone()));
    base.with_state(|base, _: &mut Dropped| {
        // SAFETY: the base is live.
        unsafe { Base::from_raw(base.as_raw()) }.release();
    });
    assert_eq!(dropped.get(), 4, "what was lent is not kept");
    base.after(Duration::ZERO, |base| base.loop_break());
    assert_eq!(base.run().unwrap(), LoopEnd::Stopped, "it can be used on");
}
