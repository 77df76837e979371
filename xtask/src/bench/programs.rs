//! `cargo xtask bench programs`: what Debian's own programs cost on libevent and on ferrevent.

mod load;
mod servers;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{Folder, Postgres, Server, apt_install, library, target_dir};
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::report::median;
use super::syscalls::total;
use super::{CPU, Contestant, LIMIT, check_library, save};
use load::{Load, Protocol};
use servers::{Ground, Memcache, Running};

const ROUNDS: usize = 11;
const QUICK_ROUNDS: usize = 3;
const CONNECTIONS: usize = 50;
const WARM_UP: Duration = Duration::from_millis(100);
const MEASURED: Duration = Duration::from_millis(250);
/// Questions whose system calls are counted.
const COUNTED: u64 = 20_000;
/// How often a program is started that does not: its port may have been taken.
const ATTEMPTS: usize = 3;

const SIDES: [Contestant; 2] = [Contestant::Libevent, Contestant::Ferrevent];

/// One line of the table.
struct Job {
    program: Program,
    what: &'static str,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Program {
    Memcached(Memcache),
    Unbound(Protocol),
    Pgbouncer,
    Transmission,
}

const JOBS: [Job; 8] = [
    Job {
        program: Program::Memcached(Memcache::Get),
        what: "get 100 bytes",
        depth: 1,
    },
    Job {
        program: Program::Memcached(Memcache::Set),
        what: "set 100 bytes",
        depth: 1,
    },
    Job {
        program: Program::Memcached(Memcache::Get),
        what: "get 100 bytes, 16 at once",
        depth: 16,
    },
    Job {
        program: Program::Unbound(Protocol::Udp),
        what: "an address by UDP",
        depth: 1,
    },
    Job {
        program: Program::Unbound(Protocol::Tcp),
        what: "an address by TCP",
        depth: 1,
    },
    Job {
        program: Program::Unbound(Protocol::Tcp),
        what: "an address by TCP, 16 at once",
        depth: 16,
    },
    Job {
        program: Program::Pgbouncer,
        what: "`select 1`",
        depth: 1,
    },
    Job {
        program: Program::Transmission,
        what: "its version, by HTTP",
        depth: 1,
    },
];

/// `cargo xtask bench programs [--quick] [NAMES...]`.
pub(super) fn run(args: &[&str]) -> Result<(), String> {
    let rounds = if args.contains(&"--quick") {
        QUICK_ROUNDS
    } else {
        ROUNDS
    };
    let names: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| *arg != "--quick")
        .collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| JOBS.iter().all(|job| job.program.name() != **name))
    {
        return Err(format!(
            "{unknown}: not among the programs that are measured"
        ));
    }
    apt_install(&["strace"]).map_err(|e| e.to_string())?;
    let library = library()?;
    let dir = target_dir()?.join("bench");
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut page = head(rounds);
    let mut postgres = None;
    for job in JOBS {
        if !names.is_empty() && !names.contains(&job.program.name()) {
            continue;
        }
        if let Err(missing) = apt_install(job.program.packages()) {
            println!("left out: {}, {}: {missing}", job.program.name(), job.what);
            continue;
        }
        if matches!(job.program, Program::Pgbouncer) && postgres.is_none() {
            // It may use all CPUs.
            pin(None)?;
            postgres = Some(Postgres::start()?);
        }
        pin(Some(CPU))?;
        let ground = |on| Ground {
            on,
            library: &library,
        };
        let start = |on| started(&job, ground(on), postgres.as_ref());
        let line = measure(&job, rounds, &start)
            .map_err(|e| format!("{}, {}: {e}", job.program.name(), job.what))?;
        println!("{line}");
        let _ = writeln!(page, "{line}");
    }
    save("programs.md", &page)?;
    println!("\n{page}");
    Ok(())
}

impl Program {
    fn name(self) -> &'static str {
        self.packages()[0]
    }

    /// Debian's. The first one is the program's.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Memcached(_) => &["memcached"],
            Self::Unbound(_) => &["unbound"],
            Self::Pgbouncer => &["pgbouncer", "postgresql"],
            Self::Transmission => &["transmission-daemon"],
        }
    }
}

/// What this thread starts from now on runs on `cpu`, or on any.
fn pin(cpu: Option<u32>) -> Result<(), String> {
    let mut set = CpuSet::new();
    let cpus = cpu.map_or(0..CpuSet::MAX_CPU, |cpu| cpu as usize..cpu as usize + 1);
    cpus.for_each(|cpu| set.set(cpu));
    sched_setaffinity(None, &set).map_err(|e| format!("CPU {cpu:?}: {e}"))
}

/// Starts a program and makes sure that it runs on the library that it is meant to.
fn started(job: &Job, ground: Ground<'_>, postgres: Option<&Postgres>) -> Result<Running, String> {
    let start = || match job.program {
        Program::Memcached(what) => servers::memcached(ground, what),
        Program::Unbound(protocol) => servers::unbound(ground, protocol),
        Program::Pgbouncer => servers::pgbouncer(ground, postgres.ok_or("no PostgreSQL")?),
        Program::Transmission => servers::transmission(ground),
    };
    let mut running = start();
    for _ in 1..ATTEMPTS {
        running = running.or_else(|_| start());
    }
    let running = running?;
    check_library(running.pid, ground.on, ground.library)?;
    Ok(running)
}

/// The two sides take turns, each round begins with the other one, and each turn has a process of its own: so neither the
/// machine's speed nor where a process happens to have its memory decides.
fn measure(
    job: &Job,
    rounds: usize,
    start: &dyn Fn(Contestant) -> Result<Running, String>,
) -> Result<String, String> {
    let mut cpu = vec![[0.0; 2]; rounds];
    let mut requests = [0; 2];
    for (round, cpu) in cpu.iter_mut().enumerate() {
        for turn in 0..SIDES.len() {
            let side = (round + turn) % SIDES.len();
            let running = start(SIDES[side])?;
            let mut load = Load::connect(&running.exchange, CONNECTIONS, job.depth)?;
            let (measured, answers) = load.measure(running.pid, WARM_UP, MEASURED)?;
            cpu[side] = measured.cpu;
            requests[side] += answers;
        }
    }
    let over = |f: &dyn Fn(&[f64; 2]) -> f64| cpu.iter().map(f).collect::<Vec<f64>>();
    let ratios = over(&|[theirs, ours]| ours / theirs);
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let calls = [
        calls(job, &start(SIDES[0])?)?,
        calls(job, &start(SIDES[1])?)?,
    ];
    Ok(format!(
        "| {} | {} | {} | {} | {:.2} | {:.2} | **{:.2}×** | {least:.2}–{most:.2} | {:.2} | {:.2} |",
        job.program.name(),
        job.what,
        requests[0],
        requests[1],
        median(over(&|[theirs, _]| theirs / 1e3)),
        median(over(&|[_, ours]| ours / 1e3)),
        median(ratios),
        calls[0],
        calls[1],
    ))
}

/// System calls of a request, by strace, which joins when all clients are connected.
fn calls(job: &Job, running: &Running) -> Result<f64, String> {
    let folder = Folder::create()?;
    let counts = folder.path().join("counts");
    let mut load = Load::connect(&running.exchange, CONNECTIONS, job.depth)?;
    load.ask(COUNTED / 10)?;
    let mut strace = Server::start(&mut attach(running.pid, &counts))?;
    strace.wait_for_stderr("attached", LIMIT)?;
    let asked = load.ask(COUNTED)?;
    strace.signal(Signal::INT)?;
    strace.wait(LIMIT)?;
    Ok(total(&counts)? as f64 / asked as f64)
}

fn attach(pid: u32, counts: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(counts);
    strace.args(["-p", &pid.to_string()]);
    strace
}

fn head(rounds: usize) -> String {
    format!(
        "{CONNECTIONS} clients; program and load on one CPU. CPU time of the program for one request, medians of {rounds} \
         rounds in turn, each with new processes and {} ms; ratios within a round, their median, the least and the most. \
         System calls by strace, over {COUNTED} requests.\n\n\
         | program | request | requests: libevent | ferrevent | CPU µs: libevent | ferrevent | **ratio** | in the rounds | \
         system calls: libevent | ferrevent |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        MEASURED.as_millis()
    )
}
