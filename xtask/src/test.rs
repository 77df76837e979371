//! `cargo xtask test`: everything that the tests need, then all of them, then a summary.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{LIB_DIR_VARIABLE, apt_install, library, workspace_root};
use rustix::process::{Pid, Signal, kill_process};

/// How long all tests together may take. A hanging test must not hang whoever runs this.
const LIMIT: Duration = Duration::from_secs(45 * 60);

const NEEDED: &[&str] = &["gcc", "libc6-dev", "libevent-dev"];
const NEEDED_BY_SLOW: &[&str] = &["memcached", "strace", "tmux", "valgrind"];
/// What some of the slow tests use, which say that they are skipped without it.
const USED_BY_SLOW: &[&str] = &[
    "bind9-dnsutils",
    "coturn",
    "fstrm-bin",
    "gearman-job-server",
    "gearman-tools",
    "links2",
    "nsd",
    "openssl",
    "pgbouncer",
    "postgresql",
    "redis-server",
    "redsocks",
    "sslsplit",
    "tor",
    "unbound",
    "webdis",
];

/// Slow tests are those marked `#[ignore]`: without `--quick` they run too.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let quick = args.contains(&"--quick");
    let args: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| *arg != "--quick")
        .collect();
    let mut packages = NEEDED.to_vec();
    if !quick {
        packages.extend(NEEDED_BY_SLOW);
    }
    apt_install(&packages).map_err(|e| e.to_string())?;
    if !quick && let Err(missing) = apt_install(USED_BY_SLOW) {
        println!("some tests will be skipped: {missing}");
    }

    println!("building the library");
    let dir = library()?;
    println!("{}", dir.display());

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace_root())
        .args(["test", "--workspace", "--no-fail-fast"]);
    cargo.args(&args).env(LIB_DIR_VARIABLE, &dir);
    if !quick {
        if !args.contains(&"--") {
            cargo.arg("--");
        }
        cargo.arg("--include-ignored");
    }
    let start = Instant::now();
    let (passed, summary) = watch(&mut cargo, start + LIMIT)?;
    summary.print(start.elapsed());
    match (passed, summary.failed) {
        (true, _) => {}
        (false, 0) => return Err("`cargo test` failed before or between the tests".into()),
        (false, failed) => return Err(format!("{failed} tests failed")),
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Summary {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
    failures: Vec<String>,
}

impl Summary {
    fn print(&self, took: Duration) {
        println!();
        for name in &self.failures {
            println!("FAILED  {name}");
        }
        println!(
            "{} passed, {} failed, {} left out, in {} test programs and {:.0?}",
            self.passed, self.failed, self.ignored, self.programs, took
        );
    }

    fn note(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.programs += 1;
            // "ok. 3 passed; 0 failed; 1 ignored; ...": a number stands before its word.
            let words: Vec<&str> = counts.split([' ', ';']).filter(|w| !w.is_empty()).collect();
            for pair in words.windows(2) {
                let Ok(count) = pair[0].parse::<u32>() else {
                    continue;
                };
                match pair[1] {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_string());
        }
    }
}

/// Shows what `cargo` prints and adds it up. It stays in our process group, so that an interrupt
/// from the terminal ends all of it.
fn watch(cargo: &mut Command, deadline: Instant) -> Result<(bool, Summary), String> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cargo test: {e}"))?;
    let (sender, lines) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
    }
    let mut summary = Summary::default();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                println!("{line}");
                summary.note(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                kill_tree(&mut child);
                return Err(format!("the tests did not end within {LIMIT:?}"));
            }
        }
    }
    let status = child.wait().map_err(|e| format!("cargo test: {e}"))?;
    Ok((status.success(), summary))
}

/// Kills `child` and all its descendants, parents first, so that none is started again.
fn kill_tree(child: &mut Child) {
    let mut pids = vec![child.id()];
    let mut next = 0;
    while let Some(&pid) = pids.get(next) {
        next += 1;
        // What ends in the meantime has nothing left to kill.
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    for pid in pids
        .into_iter()
        .filter_map(|pid| Pid::from_raw(pid.cast_signed()))
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = child.wait();
}
