//! Connecting to a host whose IPv6 address swallows every packet (RFC 8305).
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use ferrevent::{Base, BufferEvent, Callbacks, Condition};
use ferrevent_workbench::{Folder, HALF_REACHABLE, HOSTS, REACHABLE, in_black_hole, run};

/// Set in the process that runs in the namespace, which is this test once more.
const INSIDE: &str = "FERREVENT_IN_BLACK_HOLE";

/// 250 ms belong to the first attempt, counted from the beginning of a pass of the loop. What is much quicker has not
/// met a black hole.
const FIRST_ATTEMPT: Duration = Duration::from_millis(200);

/// A busy machine makes it longer, never shorter: one good run of these shows what the library does.
const RUNS: usize = 5;

#[test]
fn a_connection_by_name_stands_within_300_ms() {
    if std::env::var_os(INSIDE).is_some() {
        return connect_by_name();
    }
    let folder = Folder::create().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, HOSTS).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.env(INSIDE, "1").arg("--nocapture");
    let mut command = match in_black_hole(&again, &hosts) {
        Ok(command) => command,
        Err(reason) => {
            // Not `eprintln!`: what it prints is kept back when a test passes.
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return;
        }
    };
    let output = run(&mut command, Duration::from_secs(30)).unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}{errors}");
}

fn connect_by_name() {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let time = connect_once();
        assert!(time >= FIRST_ATTEMPT, "{time:?}: was there a black hole?");
        times.push(time);
        if time < Duration::from_millis(300) {
            return;
        }
    }
    panic!("{times:?}");
}

fn connect_once() -> Duration {
    let listener = TcpListener::bind((REACHABLE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut base = Base::new().unwrap();
    base.insert_state(None::<Duration>);
    let bev = BufferEvent::unconnected(&mut base);
    let begun = Instant::now();
    bev.set_handler(
        &mut base,
        Callbacks::new().event(move |base, bev, condition| {
            assert!(matches!(condition, Condition::Connected), "{condition:?}");
            assert!(bev.socket(base).is_some());
            *base.state_mut().unwrap() = Some(begun.elapsed());
            bev.free(base);
        }),
    );
    bev.connect_host(&mut base, HALF_REACHABLE, port).unwrap();
    let watchdog = base.after(Duration::from_secs(10), |_| panic!("the test hangs"));
    while bev.exists(&base) {
        base.run_once().unwrap();
    }
    watchdog.free(&mut base);
    base.remove_state::<Option<Duration>>().unwrap().unwrap()
}
