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

pub(super) fn run(programs: &Programs) -> Result<(), String> {
    apt_install(&["strace"]).map_err(|e| e.to_string())?;
    let mut page = String::from(
        "System calls of the process for one message, by strace.\n\n\
         | | libevent | ferrevent | bare epoll |\n|---|---:|---:|---:|\n",
    );
    let on = |count: &dyn Fn(Contestant, u64) -> Result<u64, String>, contestant| {
        let calls = count(contestant, MANY)?.saturating_sub(count(contestant, FEW)?);
        Ok::<f64, String>(calls as f64 / (MANY - FEW) as f64)
    };
    let pair = |contestant, messages| round_trips(programs, contestant, messages);
    let _ = writeln!(
        page,
        "| round trip between two bufferevents of one process | {:.2} | {:.2} | |",
        on(&pair, Contestant::Libevent)?,
        on(&pair, Contestant::Ferrevent)?,
    );
    let busy = |contestant, messages| served(programs, contestant, messages);
    let _ = writeln!(
        page,
        "| message echoed by a server with {CONNECTIONS} busy connections | {:.2} | {:.2} | {:.2} |",
        on(&busy, Contestant::Libevent)?,
        on(&busy, Contestant::Ferrevent)?,
        on(&busy, Contestant::Epoll)?,
    );
    save("syscalls.md", &page)?;
    println!("{page}");
    Ok(())
}

fn round_trips(programs: &Programs, on: Contestant, messages: u64) -> Result<u64, String> {
    let counts = programs.dir.join("strace.txt");
    let mut command = traced(programs, "echo_pair", on, &counts);
    let output = run_limited(command.arg(format!("msgs={messages}")), LIMIT)?;
    if !output.status.success() {
        return Err(format!(
            "echo_pair: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    total(&counts)
}

fn served(programs: &Programs, on: Contestant, messages: u64) -> Result<u64, String> {
    let counts = programs.dir.join("strace.txt");
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
fn total(counts: &Path) -> Result<u64, String> {
    let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", counts.display());
    let text = fs::read_to_string(counts).map_err(|e| fault(&e))?;
    let line = text.lines().rev().find(|line| line.ends_with("total"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3));
    calls
        .and_then(|calls| calls.parse().ok())
        .ok_or_else(|| fault(&"no total in it"))
}
