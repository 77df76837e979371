//! A host whose IPv6 address swallows every packet: a connection by name stands all the same, and soon (RFC 8305).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{
    Folder, HALF_REACHABLE, HOSTS, REACHABLE, compile_c, in_black_hole, library, run, with_library,
};

/// 250 ms belong to the first attempt, counted from the beginning of a pass of the loop. What is much quicker has not
/// met a black hole.
const FIRST_ATTEMPT: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_millis(300);

/// A busy machine makes it longer, never shorter: one good run of these shows what the library does.
const RUNS: usize = 5;

#[test]
fn a_connection_by_name_stands_within_300_ms() {
    let place = Place::new();
    // By the system's resolver, and by evdns.
    for more in [None, Some(place.hosts.as_path())] {
        if let Some(command) = place.command(more) {
            assert_quick(command);
        }
    }
}

#[test]
fn freed_while_it_tries_it_leaves_no_descriptor_open() {
    let place = Place::new();
    let Some(mut command) = place.command(Some(Path::new("free"))) else {
        return;
    };
    let output = run(&mut command, Duration::from_secs(10)).expect("it ends in time");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "0\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// The program, and the hosts file of the namespace.
struct Place {
    folder: Folder,
    hosts: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = Folder::create().expect("a temporary folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("stress/by_name.c");
        let program = folder.path().join("by_name");
        compile_c(&[&source], &program, &["event"]).expect("the program compiles");
        let hosts = folder.path().join("hosts");
        fs::write(&hosts, HOSTS).expect("the hosts file is written");
        Self { folder, hosts }
    }

    /// The program in the namespace, or `None` where there can be none.
    fn command(&self, more: Option<&Path>) -> Option<Command> {
        let mut command = Command::new(self.folder.path().join("by_name"));
        command.args([HALF_REACHABLE, REACHABLE]).args(more);
        with_library(&mut command, &library().expect("the library builds"));
        match in_black_hole(&command, &self.hosts) {
            Ok(command) => Some(command),
            Err(reason) => {
                // Not `eprintln!`: what it prints is kept back when a test passes.
                let _ = writeln!(std::io::stderr(), "skipped: {reason}");
                None
            }
        }
    }
}

fn assert_quick(mut command: Command) {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let output = run(&mut command, Duration::from_secs(10)).expect("it ends in time");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let time = text.trim_end().parse().map(Duration::from_micros);
        let time = time.unwrap_or_else(|_| panic!("{}: {text}{errors}", output.status));
        assert!(time >= FIRST_ATTEMPT, "{time:?}: was there a black hole?");
        times.push(time);
        if time < LIMIT {
            return;
        }
    }
    panic!("{times:?}");
}
