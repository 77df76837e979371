//! Running Debian's programs on our library, and the proof that they do.

#![allow(
    dead_code,
    reason = "each of the test programs that share this uses a part of it"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{LIB_DIR_VARIABLE, SONAMES, apt_install, mapped_libevent, run};

/// How long a program may take for any one thing.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// True when all `packages` are there, after installing those that were not. Otherwise says why
/// the test is skipped.
pub(crate) fn installed(packages: &[&str]) -> bool {
    let Err(missing) = apt_install(packages) else {
        return true;
    };
    let test = std::thread::current();
    let test = test.name().unwrap_or("test");
    // Not `eprintln!`: what it prints is kept back when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {missing}");
    false
}

/// The command that runs `program` on `library`.
pub(crate) fn ferrevent_run(program: &str, library: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrevent"));
    command
        .args(["run", "--", program])
        .env(LIB_DIR_VARIABLE, library);
    command
}

/// Fails unless process `pid` has mapped libevent from `library`, and from nowhere else.
pub(crate) fn assert_runs_on(library: &Path, pid: u32) {
    let mapped = mapped_libevent(pid).unwrap();
    let ours: Vec<PathBuf> = SONAMES
        .iter()
        .map(|name| fs::canonicalize(library.join(name)).unwrap())
        .collect();
    assert!(!mapped.is_empty(), "process {pid} has mapped no libevent");
    assert!(
        mapped.iter().all(|path| ours.contains(path)),
        "process {pid} has mapped {mapped:?}"
    );
}

/// Runs `command` to its end and returns what it printed; fails unless it succeeds.
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = run(command, LIMIT).unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// The first success of a few attempts: a port that was free may be taken when a program wants it.
pub(crate) fn first_success<T>(mut start: impl FnMut() -> Result<T, String>) -> T {
    const ATTEMPTS: usize = 3;
    let mut errors = Vec::new();
    for _ in 0..ATTEMPTS {
        match start() {
            Ok(started) => return started,
            Err(e) => errors.push(e),
        }
    }
    panic!("{}", errors.join("\n"));
}
