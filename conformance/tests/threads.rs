//! Many threads on the same bases: `stress/*.c`, alone and under valgrind's helgrind.
//!
//! helgrind knows the locks of the library's objects: they are POSIX mutexes. `stress/helgrind.supp` has the one thing that it
//! cannot know of them, how references are counted. OpenSSL needs no suppression. Two tables that all bases share, of blocks of
//! events and of signals, have locks that it does not see (`std`'s, and a flag); of the programs that it runs here, it reports nothing there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{
    Folder, apt_install, compile_c, compile_c_with, library, run, with_library,
};

/// A run that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_million_operations_of_eight_threads_on_four_bases() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "events");
    for seed in 1..=3 {
        let mut command = Command::new(&program);
        command.arg("1000000").arg(seed.to_string());
        with_library(&mut command, &library().expect("the library builds"));
        assert_clean(command, LIMIT);
    }
}

#[test]
#[ignore = "slow: under helgrind"]
fn no_race_among_eight_threads_on_four_bases() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "events");
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--tool=helgrind", "--error-exitcode=99"])
        .arg(&program)
        .args(["20000", "1"]);
    with_library(&mut command, &library().expect("the library builds"));
    assert_clean(command, 5 * LIMIT);
}

#[test]
fn no_wake_up_is_lost_by_six_threads_on_three_bases() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "wakeups");
    for seed in 1..=3 {
        let mut command = Command::new(&program);
        command.arg("2000").arg(seed.to_string());
        with_library(&mut command, &library().expect("the library builds"));
        assert_clean(command, LIMIT);
    }
}

#[test]
fn a_million_operations_on_bufferevents_that_others_free() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "bufferevents");
    for seed in 1..=3 {
        let mut command = Command::new(&program);
        command.arg("1000000").arg(seed.to_string());
        with_library(&mut command, &library().expect("the library builds"));
        assert_clean(command, LIMIT);
    }
}

#[test]
#[ignore = "slow: under helgrind and memcheck"]
fn no_race_and_no_lost_memory_among_bufferevents_that_others_free() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "bufferevents");
    under_valgrind(&program, "20000");
}

#[test]
fn many_operations_on_bufferevents_with_tls_that_others_free() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build_with_tls(folder.path());
    for seed in 1..=2 {
        let mut command = Command::new(&program);
        command.arg("20000").arg(seed.to_string());
        with_library(&mut command, &library().expect("the library builds"));
        assert_clean(command, LIMIT);
    }
}

#[test]
#[ignore = "slow: under helgrind and memcheck"]
fn no_race_and_no_lost_memory_among_bufferevents_with_tls_that_others_free() {
    let folder = Folder::create().expect("a temporary folder");
    under_valgrind(&build_with_tls(folder.path()), "2500");
}

#[test]
fn names_are_looked_up_by_three_threads() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "names");
    for seed in 1..=3 {
        let mut command = Command::new(&program);
        command.arg("20000").arg(seed.to_string());
        with_library(&mut command, &library().expect("the library builds"));
        assert_clean(command, LIMIT);
    }
}

#[test]
#[ignore = "slow: under memcheck"]
fn no_lost_memory_among_threads_that_look_names_up() {
    let folder = Folder::create().expect("a temporary folder");
    let program = build(folder.path(), "names");
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--leak-check=full", "--error-exitcode=99"])
        .arg(&program)
        .args(["1500", "1"]);
    with_library(&mut command, &library().expect("the library builds"));
    assert_clean(command, 5 * LIMIT);
}

fn under_valgrind(program: &Path, operations: &str) {
    let suppressions = format!("--suppressions={}", stress("helgrind.supp").display());
    for tool in [
        &["--tool=helgrind", &suppressions][..],
        &["--tool=memcheck", "--leak-check=full"],
    ] {
        let mut command = Command::new("valgrind");
        command
            .args(["-q", "--error-exitcode=99"])
            .args(tool)
            .arg(program)
            .args([operations, "1"]);
        with_library(&mut command, &library().expect("the library builds"));
        assert_clean(command, 5 * LIMIT);
    }
}

fn build(folder: &Path, name: &str) -> PathBuf {
    let source = stress(name).with_extension("c");
    let program = folder.join(name);
    let libraries = ["event", "event_pthreads", "pthread"];
    compile_c(&[&source], &program, &libraries).expect("the program compiles");
    program
}

/// `stress/bufferevents.c` with TLS in all of them.
fn build_with_tls(folder: &Path) -> PathBuf {
    apt_install(&["libevent-dev", "libssl-dev", "valgrind"]).expect("the packages are there");
    let program = folder.join("bufferevents");
    let libraries = [
        "event",
        "event_pthreads",
        "event_openssl",
        "ssl",
        "crypto",
        "pthread",
    ];
    let flags = ["-D_GNU_SOURCE", "-DWITH_TLS"];
    compile_c_with(&[stress("bufferevents.c")], &program, &libraries, &flags)
        .expect("the program compiles");
    program
}

fn stress(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("stress")
        .join(name)
}

fn assert_clean(mut command: Command, limit: Duration) {
    let output = run(&mut command, limit).expect("the program ends in time");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    let trace = String::from_utf8_lossy(&output.stdout);
    assert_eq!(trace, "calls after the end 0\n", "{errors}");
}
