//! `cargo xtask bench`: an echo server on libevent, on ferrevent and on nothing, in turn.

mod base;
mod buffer;
mod cell;
mod programs;
mod report;
mod syscalls;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{
    SONAMES, Server, apt_install, compile_c, library, mapped_libevent, run as run_limited,
    target_dir, with_library, workspace_root,
};

use cell::Cell;
use report::{Measured, Row};

/// Server and load share this CPU.
const CPU: u32 = 0;
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 3;
/// How long one measurement may take, connecting included.
const LIMIT: Duration = Duration::from_secs(60);

/// `cargo xtask bench [--quick] [CELLS...]`, and `cargo xtask bench` with `syscalls`, `base`, `buffer`, `tls` or `programs`.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    apt_install(&["gcc", "libc6-dev", "libevent-dev"]).map_err(|e| e.to_string())?;
    if let ["buffer", rest @ ..] = args {
        return buffer::run(rest);
    }
    if let ["programs", rest @ ..] = args {
        return programs::run(rest);
    }
    if args == ["tls"] {
        return tls::measure(&Programs::build()?);
    }
    if let ["base", rest @ ..] = args {
        return base::run(&Programs::build()?, rest == ["--quick"]);
    }
    if args == ["syscalls"] {
        return syscalls::run(&Programs::build()?);
    }
    let quick = args.contains(&"--quick");
    let named: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| *arg != "--quick")
        .collect();
    let cells = match (named.is_empty(), quick) {
        (false, _) => named
            .into_iter()
            .map(str::parse)
            .collect::<Result<Vec<Cell>, _>>()?,
        (true, true) => Cell::few(),
        (true, false) => Cell::all(),
    };
    let programs = Programs::build()?;
    let rounds = if quick { QUICK_ROUNDS } else { ROUNDS };
    let mut rows = Vec::new();
    for cell in cells {
        let row = measure(&programs, cell, rounds)?;
        println!("{}", row.line());
        rows.push(row);
    }
    let page = report::page(&rows, rounds);
    let name = if quick { "quick.md" } else { "echo.md" };
    save(name, &page)?;
    println!("\n{page}");
    Ok(())
}

/// The compiled benchmark programs and the library that is measured.
struct Programs {
    dir: PathBuf,
    library: PathBuf,
}

impl Programs {
    fn build() -> Result<Self, String> {
        let dir = target_dir()?.join("bench");
        let sources = workspace_root().join("benches");
        for (program, libs) in [
            ("base_costs", &["event"][..]),
            ("echo_bufferevent", &["event"]),
            ("echo_epoll", &[]),
            ("echo_pair", &["event"]),
            ("http_pair", &["event"]),
            ("load", &[]),
        ] {
            compile_c(
                &[sources.join(program).with_extension("c")],
                &dir.join(program),
                libs,
            )?;
        }
        Ok(Self {
            dir,
            library: library()?,
        })
    }

    fn command(&self, program: &str, on: Contestant) -> Command {
        let mut command = Command::new(self.dir.join(program));
        command.env_remove("LD_LIBRARY_PATH");
        if on == Contestant::Ferrevent {
            with_library(&mut command, &self.library);
        }
        command
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contestant {
    Epoll,
    Libevent,
    Ferrevent,
}

impl Contestant {
    const ALL: [Self; 3] = [Self::Epoll, Self::Libevent, Self::Ferrevent];

    fn program(self) -> &'static str {
        match self {
            Self::Epoll => "echo_epoll",
            Self::Libevent | Self::Ferrevent => "echo_bufferevent",
        }
    }
}

/// The contestants take turns, so that a change in the machine's speed falls on all of them; the
/// one that begins changes from round to round.
fn measure(programs: &Programs, cell: Cell, rounds: usize) -> Result<Row, String> {
    let mut measured = vec![[Measured::default(); 3]; rounds];
    for (round, results) in measured.iter_mut().enumerate() {
        for turn in 0..results.len() {
            let at = (turn + round) % results.len();
            results[at] = one(programs, Contestant::ALL[at], cell)
                .map_err(|e| format!("{cell} on {:?}: {e}", Contestant::ALL[at]))?;
        }
    }
    Ok(Row::new(cell, &measured))
}

fn one(programs: &Programs, on: Contestant, cell: Cell) -> Result<Measured, String> {
    let (server, port) = start(programs, on, &[&format!("cpu={CPU}")])?;
    let mut load = Command::new(programs.dir.join("load"));
    load.arg(format!("port={port}"))
        .arg(format!("pid={}", server.pid()));
    load.arg(format!("cpu={CPU}")).args(cell.arguments());
    let output = run_limited(&mut load, LIMIT)?;
    if !output.status.success() {
        return Err(format!("load: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Measured::parse(&String::from_utf8_lossy(&output.stdout))
}

/// Starts a server and makes sure that it runs on the library that it is meant to.
fn start(programs: &Programs, on: Contestant, args: &[&str]) -> Result<(Server, u16), String> {
    let server = Server::start(programs.command(on.program(), on).args(args))?;
    let port = port_of(&server)?;
    check_library(server.pid(), on, &programs.library)?;
    Ok((server, port))
}

fn port_of(server: &Server) -> Result<u16, String> {
    let line = server.line(LIMIT)?;
    line.parse()
        .map_err(|_| format!("the server's first line is no port: {line}"))
}

fn check_library(pid: u32, on: Contestant, dir: &Path) -> Result<(), String> {
    let mapped = mapped_libevent(pid)?;
    // The folder may hold links; the kernel names the files themselves.
    let ours: Vec<PathBuf> = SONAMES
        .iter()
        .filter_map(|name| fs::canonicalize(dir.join(name)).ok())
        .collect();
    let right = match on {
        Contestant::Epoll => mapped.is_empty(),
        Contestant::Libevent => !mapped.is_empty() && mapped.iter().all(|m| !m.starts_with(dir)),
        Contestant::Ferrevent => !mapped.is_empty() && mapped.iter().all(|m| ours.contains(m)),
    };
    if right {
        return Ok(());
    }
    Err(format!("meant for {on:?}, but it has mapped {mapped:?}"))
}

fn save(name: &str, page: &str) -> Result<(), String> {
    let path = target_dir()?.join("bench").join(name);
    fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))?;
    eprintln!("written to {}", path.display());
    Ok(())
}
