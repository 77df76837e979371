//! `examples/migration`: a C program, and each step of its way to Rust, does the same, on libevent and on our library.

// A file, folder or compiler that is missing ends the test with its message.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ferrevent_workbench as workbench;
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(60);
/// All C, then one file of Rust more at each step, until none of C is left.
const MIXED: std::ops::RangeInclusive<u32> = 0..=5;
/// On the crate `ferrevent`.
const ALONE: u32 = 6;

const JOURNAL: &str = "\
changed first one two
changed second x
changed first three
gone second
changed third z
gone third
hup
end
";

#[test]
fn each_step_does_the_same_on_both_libraries() {
    workbench::apt_install(&["gcc", "libc6-dev", "libevent-dev", "make"]).unwrap();
    let dir = workbench::library().unwrap();
    let folder = workbench::Folder::create().unwrap();
    for step in MIXED {
        let program = build(step, folder.path(), &dir);
        for library in [None, Some(&dir)] {
            let what = format!("step {step} on {library:?}");
            let mut command = Command::new(&program);
            if let Some(dir) = library {
                workbench::with_library(&mut command, dir);
            }
            let mapped = put_to_work(&mut command, folder.path(), &what);
            let [file] = &mapped[..] else {
                panic!("{what}: {mapped:?}");
            };
            assert_eq!(
                file.starts_with(&dir),
                library.is_some(),
                "{what}: {mapped:?}"
            );
        }
    }
    let program = build(ALONE, folder.path(), &dir);
    let mapped = put_to_work(&mut Command::new(program), folder.path(), "on the crate");
    assert!(mapped.is_empty(), "{mapped:?}");
}

#[test]
#[ignore = "slow: under valgrind"]
fn a_step_touches_and_loses_no_memory() {
    workbench::apt_install(&["gcc", "libc6-dev", "libevent-dev", "make", "valgrind"]).unwrap();
    let dir = workbench::library().unwrap();
    let folder = workbench::Folder::create().unwrap();
    // C owns the base, the listener and the signals, Rust all else.
    let program = build(3, folder.path(), &dir);
    for library in [None, Some(&dir)] {
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--leak-check=full", "--show-leak-kinds=definite"]);
        command.args(["--errors-for-leak-kinds=definite", "--error-exitcode=99"]);
        command.arg(&program);
        if let Some(dir) = library {
            workbench::with_library(&mut command, dir);
        }
        put_to_work(
            &mut command,
            folder.path(),
            &format!("valgrind on {library:?}"),
        );
    }
}

/// Builds it as its readers do.
fn build(step: u32, out: &Path, library: &Path) -> PathBuf {
    // What cargo builds for one step lies where it lay for the last one.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut make = Command::new("make");
    make.arg("--directory")
        .arg(workbench::workspace_root().join("examples/migration"));
    make.arg(format!("STEP={step}"))
        .arg(format!("OUT={}", out.display()));
    make.arg(format!(
        "TARGET={}",
        workbench::target_dir().unwrap().display()
    ));
    if let Some(cargo) = std::env::var_os("CARGO") {
        make.env("CARGO", cargo);
    }
    // Rust programs are linked against ours. Which library they run on is decided when they start.
    make.env(workbench::LIB_DIR_VARIABLE, library);
    let output = workbench::run(&mut make, Duration::from_secs(600)).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    out.join(format!("board{step}"))
}

/// Has it do all that it can do, and says which libevent it uses.
fn put_to_work(command: &mut Command, folder: &Path, what: &str) -> Vec<PathBuf> {
    let journal = folder.join("journal");
    let mut board = workbench::Server::start(command.arg(&journal)).unwrap();
    let line = board
        .line(LIMIT)
        .unwrap_or_else(|e| panic!("{what}: {e}\n{}", board.stderr()));
    let port = line
        .strip_prefix("listening on 127.0.0.1:")
        .unwrap()
        .parse()
        .unwrap();
    let mapped = workbench::mapped_libevent(board.pid()).unwrap();

    let mut watcher = Client::connect(port);
    watcher.ask("watch", "ok");
    let mut client = Client::connect(port);
    for (question, answer) in [
        ("get first", "none"),
        ("set first one two", "ok"),
        ("get first", "note one two"),
        ("set second x", "ok"),
        ("set first three", "ok"),
        ("del second", "ok"),
        ("del second", "none"),
        ("expire second 1", "none"),
        ("set third z", "ok"),
        ("expire third 60000", "ok"),
        ("expire third 1", "ok"),
        ("set", "what?"),
        ("get", "what?"),
        ("", "what?"),
    ] {
        client.ask(question, answer);
    }
    for change in [
        "changed first one two",
        "changed second x",
        "changed first three",
        "gone second",
        "changed third z",
        "gone third",
    ] {
        assert_eq!(watcher.line(), change, "{what}");
    }
    // Several lines at once, and one in pieces.
    client.say("get first\r\nget third\nge");
    assert_eq!(
        (client.line(), client.line()),
        ("note three".into(), "none".into())
    );
    client.say("t first\n");
    assert_eq!(client.line(), "note three");
    client.ask("quit", "bye");
    client.ends(what);

    let mut chatty = Client::connect(port);
    chatty.say(&"x".repeat(512));
    assert_eq!(chatty.line(), "too long");
    chatty.ends(what);

    // One leaves without a word, one stays until the end.
    drop(Client::connect(port));
    board.signal(Signal::HUP).unwrap();
    let written = || fs::read_to_string(&journal).is_ok_and(|text| text.ends_with("hup\n"));
    let start = std::time::Instant::now();
    while !written() {
        assert!(
            start.elapsed() < LIMIT,
            "{what}: {:?}",
            fs::read_to_string(&journal)
        );
        std::thread::yield_now();
    }
    board.signal(Signal::TERM).unwrap();
    let status = board.wait(LIMIT).unwrap();
    assert!(status.success(), "{what}: {status}\n{}", board.stderr());
    watcher.ends(what);
    assert_eq!(fs::read_to_string(&journal).unwrap(), JOURNAL, "{what}");
    fs::remove_file(&journal).unwrap();
    mapped
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    fn ask(&mut self, question: &str, answer: &str) {
        self.say(&format!("{question}\n"));
        assert_eq!(self.line(), answer, "{question}");
    }

    fn ends(&mut self, what: &str) {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{what}");
    }
}
