//! Runs `stress/tls.c`: replies to slow readers, and many connections one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{Folder, apt_install, compile_c_with, library, run, with_library};

const REPLY: &str = "8388608";

#[test]
fn a_slow_reader_gets_every_byte_and_a_clean_end() {
    replies("20");
}

#[test]
#[ignore = "slow: 8 GiB through TLS"]
fn a_thousand_slow_readers_get_every_byte_and_a_clean_end() {
    replies("1000");
}

#[test]
fn connections_leave_nothing_behind() {
    connections("400");
}

#[test]
#[ignore = "slow: 10,000 handshakes"]
fn ten_thousand_connections_leave_nothing_behind() {
    connections("10000");
}

#[test]
#[ignore = "slow: under valgrind"]
fn connections_lose_no_memory() {
    let folder = Folder::create().expect("a temporary folder");
    let mut command = Command::new("valgrind");
    command.args(["-q", "--leak-check=full", "--error-exitcode=99"]);
    command.args(["--errors-for-leak-kinds=definite,indirect"]);
    command
        .arg(build(folder.path()))
        .args(["connections", "60"]);
    check(command, "connections that failed 0\ndescriptors left 0\n");
}

fn replies(count: &str) {
    let folder = Folder::create().expect("a temporary folder");
    let mut command = Command::new(build(folder.path()));
    command.args(["replies", count, REPLY]);
    check(
        command,
        "replies that were cut off or not ended cleanly 0\n",
    );
}

fn connections(count: &str) {
    let folder = Folder::create().expect("a temporary folder");
    let mut command = Command::new(build(folder.path()));
    command.args(["connections", count]);
    check(
        command,
        "connections that failed 0\ndescriptors left 0\ngrown by more than 2 MiB 0\n",
    );
}

fn build(folder: &Path) -> PathBuf {
    apt_install(&["libevent-dev", "libssl-dev", "valgrind"]).expect("the packages are there");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("tls");
    let include = format!("-I{}", here.join("cases").display());
    compile_c_with(
        &[here.join("stress/tls.c")],
        &program,
        &["event", "event_openssl", "ssl", "crypto"],
        &["-D_GNU_SOURCE", &include],
    )
    .expect("the program compiles");
    program
}

fn check(mut command: Command, expected: &str) {
    with_library(&mut command, &library().expect("the library builds"));
    let output = run(&mut command, Duration::from_secs(300)).expect("the program ends in time");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.starts_with(expected), "{printed}{errors}");
}
