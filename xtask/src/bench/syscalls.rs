//! `cargo xtask bench syscalls`: how many system calls a message costs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use ferrevent_workbench::{Server, apt_install, run as run_limited};

use super::{Contestant, LIMIT, Programs, port_of, save};

/// Two runs that differ only in their messages: what starting and ending costs cancels out.
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;
const CONNECTIONS: u64 = 100;

/// Requests that the client of `http_pair` sends at once in [`tests`].
#[cfg(test)]
const DEPTH: u64 = 10;

/// The client of `http_pair` sends and receives.
const CALLS_OF_CLIENT: u64 = 2;

pub(super) fn run(programs: &Programs) -> Result<(), String> {
    apt_install(&["strace"]).map_err(|e| e.to_string())?;
    let [pair_libevent, pair_ferrevent] = [Contestant::Libevent, Contestant::Ferrevent]
        .map(|on| each(|messages| round_trips(programs, "echo_pair", on, messages)));
    let [http_libevent, http_ferrevent] = [Contestant::Libevent, Contestant::Ferrevent]
        .map(|on| each(|messages| round_trips(programs, "http_pair", on, messages)));
    let [busy_epoll, busy_libevent, busy_ferrevent] =
        Contestant::ALL.map(|on| each(|messages| served(programs, on, messages)));
    let mut page = String::from(
        "System calls of the process for one message, by strace.\n\n\
         | | libevent | ferrevent | bare epoll |\n|---|---:|---:|---:|\n",
    );
    let _ = writeln!(
        page,
        "| round trip between two bufferevents of one process | {:.2} | {:.2} | |",
        pair_libevent?, pair_ferrevent?,
    );
    let _ = writeln!(
        page,
        "| echo by a server with {CONNECTIONS} busy connections | {:.2} | {:.2} | {:.2} |",
        busy_libevent?, busy_ferrevent?, busy_epoll?,
    );
    let _ = writeln!(
        page,
        "| HTTP request on a kept connection, with the client's {CALLS_OF_CLIENT} | {:.2} | {:.2} | |",
        http_libevent?, http_ferrevent?,
    );
    save("syscalls.md", &page)?;
    println!("{page}");
    Ok(())
}

/// What one message adds to a count of system calls.
fn each(count: impl Fn(u64) -> Result<u64, String>) -> Result<f64, String> {
    let calls = count(MANY)?.saturating_sub(count(FEW)?);
    Ok(calls as f64 / (MANY - FEW) as f64)
}

fn round_trips(
    programs: &Programs,
    program: &str,
    on: Contestant,
    messages: u64,
) -> Result<u64, String> {
    let counts = programs
        .dir
        .join(format!("strace-{}.txt", std::process::id()));
    let mut command = traced(programs, program, on, &counts);
    let output = run_limited(command.arg(format!("msgs={messages}")), LIMIT)?;
    if !output.status.success() {
        return Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    total(&counts)
}

/// Many requests at once, whose answers leave together.
#[cfg(test)]
fn pipelined(programs: &Programs, messages: u64) -> Result<u64, String> {
    let counts = programs
        .dir
        .join(format!("strace-{}.txt", std::process::id()));
    let mut command = traced(programs, "http_pair", Contestant::Ferrevent, &counts);
    command.arg(format!("msgs={messages}"));
    let output = run_limited(command.arg(format!("depth={DEPTH}")), LIMIT)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    total(&counts)
}

fn served(programs: &Programs, on: Contestant, messages: u64) -> Result<u64, String> {
    let counts = programs
        .dir
        .join(format!("strace-{}.txt", std::process::id()));
    let mut command = traced(programs, on.program(), on, &counts);
    let mut server = Server::start(command.arg(format!("closes={CONNECTIONS}")))?;
    let mut load = Command::new(programs.dir.join("load"));
    load.arg(format!("port={}", port_of(&server)?))
        .arg(format!("conns={CONNECTIONS}"));
    load.args(["size=512", "depth=1"])
        .arg(format!("msgs={messages}"));
    let output = run_limited(&mut load, LIMIT)?;
    if !output.status.success() {
        return Err(format!("load: {}", String::from_utf8_lossy(&output.stderr)));
    }
    server.wait(LIMIT)?;
    total(&counts)
}

fn traced(programs: &Programs, program: &str, on: Contestant, counts: &Path) -> Command {
    let plain = programs.command(program, on);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(counts);
    // strace itself keeps the environment it has: only the program gets the library.
    for (name, value) in plain.get_envs() {
        let mut setting = name.to_os_string();
        if let Some(value) = value {
            setting.push("=");
            setting.push(value);
        }
        strace.arg("-E").arg(setting);
    }
    strace.arg(plain.get_program());
    strace
}

/// The sum line of `strace -c`: percentage, seconds, microseconds a call, calls, perhaps errors.
pub(super) fn total(counts: &Path) -> Result<u64, String> {
    let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", counts.display());
    let text = fs::read_to_string(counts).map_err(|e| fault(&e))?;
    let line = text.lines().rev().find(|line| line.ends_with("total"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3));
    calls
        .and_then(|calls| calls.parse().ok())
        .ok_or_else(|| fault(&"no total in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "slow: runs servers under strace"]
    fn a_message_costs_few_system_calls() {
        apt_install(&["gcc", "libc6-dev", "libevent-dev", "strace"]).unwrap();
        let programs = Programs::build().unwrap();
        let pair = |on| each(|messages| round_trips(&programs, "echo_pair", on, messages)).unwrap();
        let http = |on| each(|messages| round_trips(&programs, "http_pair", on, messages)).unwrap();
        let busy = |on| each(|messages| served(&programs, on, messages)).unwrap();
        // The count itself is checked on what is known.
        assert!((13.5..14.5).contains(&pair(Contestant::Libevent)));
        assert!((1.9..2.2).contains(&busy(Contestant::Epoll)));

        let calls = pair(Contestant::Ferrevent);
        assert!(
            calls <= 6.0,
            "{calls} for a round trip between two bufferevents"
        );
        let calls = http(Contestant::Ferrevent) - CALLS_OF_CLIENT as f64;
        assert!(calls <= 3.1, "{calls} for a request on a kept connection");
        let calls = each(|messages| pipelined(&programs, messages)).unwrap();
        assert!(
            calls <= 0.6,
            "{calls} for one of {DEPTH} requests, with the client's"
        );
        let calls = busy(Contestant::Ferrevent);
        assert!(
            calls <= 2.2,
            "{calls} for an echo by a server with {CONNECTIONS} connections"
        );
    }
}
