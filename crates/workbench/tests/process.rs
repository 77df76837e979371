//! Programs under a time limit.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Server, mapped_libevent, run, run_with_input};

const LONG: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn both_outputs_are_complete_beyond_the_size_of_a_pipe() {
    let script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 3";
    let output = run(&mut sh(script), LONG).unwrap();
    assert_eq!(output.stdout.len(), 1_000_000);
    assert_eq!(output.stderr.len(), 1_000_000);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn input_beyond_the_size_of_a_pipe_comes_back() {
    let input: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
    let output = run_with_input(&mut Command::new("cat"), input.clone(), LONG).unwrap();
    assert!(output.stdout == input);
}

#[test]
fn a_program_that_reads_no_input_is_no_error() {
    let output = run_with_input(&mut Command::new("true"), vec![0; 1_000_000], LONG).unwrap();
    assert!(output.status.success());
}

#[test]
fn past_the_limit_the_whole_group_is_killed_and_its_output_kept() {
    let start = Instant::now();
    let script = "echo so far; sleep 1000 & sleep 1000";
    let error = run(&mut sh(script), Duration::from_millis(300)).unwrap_err();
    assert!(
        error.contains("so far") && error.contains("killed"),
        "{error}"
    );
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = run(&mut Command::new("/nonexistent/program"), LONG).unwrap_err();
    assert!(error.starts_with("/nonexistent/program: "), "{error}");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = Server::start(&mut sh("echo ready; sleep 1000")).unwrap();
    assert_eq!(server.line(LONG).unwrap(), "ready");
    let pid = server.pid();
    assert!(mapped_libevent(pid).unwrap().is_empty());
    drop(server);
    assert!(mapped_libevent(pid).is_err());
}

#[test]
fn a_server_that_ends_is_waited_for() {
    let mut server = Server::start(&mut sh("echo one; exit 4")).unwrap();
    assert_eq!(server.wait(LONG).unwrap().code(), Some(4));
    assert_eq!(server.line(LONG).unwrap(), "one");
    assert!(server.line(LONG).unwrap_err().contains("closed"));
}
