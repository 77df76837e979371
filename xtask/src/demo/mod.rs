//! `cargo demo`: the library at work, from small C programs to memcached and tmux.

mod memcached;
mod names;
mod seed;
mod tmux;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{
    LIB_DIR_VARIABLE, SONAMES, apt_install, compile_c, library, mapped_libevent,
    run as run_limited, target_dir, workspace_root,
};

/// What the last steps show if it is there; as root it is installed.
const SHOWN: &[&str] = &["memcached", "tmux"];

/// How long any one thing may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a step ends with, unless it fails.
enum Outcome {
    Pass,
    Skipped(String),
}

/// The library, the command and the C programs, built.
struct Stage {
    library: PathBuf,
    command: PathBuf,
    programs: PathBuf,
}

/// Shows every step and fails if one did.
pub(crate) fn run() -> Result<(), String> {
    heading(0, "Building the library, the command and the C programs");
    let stage = Stage::build()?;
    println!(
        "the library, under its {} names: {}",
        SONAMES.len(),
        stage.library.display()
    );
    println!("the command: {}", stage.command.display());

    type Step = fn(&Stage) -> Result<Outcome, String>;
    let steps: [(&str, Step); 6] = [
        ("A connection (examples/c/connect.c)", seed::connect),
        ("Watermarks (examples/c/watermark.c)", seed::watermark),
        (
            "An HTTP/1.0 client (examples/c/http_client.c)",
            seed::http_client,
        ),
        (
            "The same by a DNS base (examples/c/http_by_name.c)",
            names::http_by_name,
        ),
        ("memcached", memcached::step),
        ("tmux", tmux::step),
    ];
    let mut verdicts = Vec::new();
    for (number, (title, step)) in (1..).zip(steps) {
        heading(number, title);
        let verdict = match step(&stage) {
            Ok(Outcome::Pass) => "PASS".to_string(),
            Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(message) => format!("FAIL: {message}"),
        };
        println!("{verdict}");
        verdicts.push((title, verdict));
    }

    println!("\n== Summary");
    let mut failed = 0;
    for (title, verdict) in &verdicts {
        let short = verdict.lines().next().unwrap_or_default();
        println!("{title:50} {short}");
        failed += usize::from(verdict.starts_with("FAIL"));
    }
    if failed > 0 {
        return Err(format!("{failed} of {} steps failed", verdicts.len()));
    }
    Ok(())
}

fn heading(number: u32, title: &str) {
    println!("\n== {number}. {title}");
}

impl Stage {
    fn build() -> Result<Self, String> {
        apt_install(&["gcc", "libc6-dev", "libevent-dev"]).map_err(|e| e.to_string())?;
        if let Err(missing) = apt_install(SHOWN) {
            println!("some steps will be skipped: {missing}");
        }
        let library = library()?;
        let target = target_dir()?;

        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(workspace_root()).args([
            "build",
            "--quiet",
            "--package",
            "ferrevent-cli",
        ]);
        let status = cargo.status().map_err(|e| format!("cargo build: {e}"))?;
        if !status.success() {
            return Err("the command ferrevent does not build".into());
        }

        let programs = target.join("demo");
        for program in [
            "connect",
            "watermark",
            "http_client",
            "http_by_name",
            "serve_name",
        ] {
            let source = workspace_root()
                .join("examples/c")
                .join(program)
                .with_extension("c");
            compile_c(&[source], &programs.join(program), &["event"])?;
        }
        Ok(Self {
            library,
            command: target.join("debug/ferrevent"),
            programs,
        })
    }

    /// One of the compiled C programs.
    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// `ferrevent run -- program`.
    fn ferrevent_run(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.command);
        command
            .args(["run", "--"])
            .arg(program)
            .env(LIB_DIR_VARIABLE, &self.library);
        command
    }

    /// Shows which libevent process `pid` has mapped, and fails unless it is ours alone.
    fn show_maps(&self, pid: u32) -> Result<(), String> {
        let mapped = mapped_libevent(pid)?;
        for path in &mapped {
            println!("/proc/{pid}/maps: {}", path.display());
        }
        let ours: Vec<PathBuf> = SONAMES
            .iter()
            .filter_map(|name| std::fs::canonicalize(self.library.join(name)).ok())
            .collect();
        if mapped.is_empty() || !mapped.iter().all(|path| ours.contains(path)) {
            return Err(format!(
                "process {pid} does not run on our library: {mapped:?}"
            ));
        }
        Ok(())
    }
}

/// Runs `command` to its end, shows its standard error, and returns its standard output.
fn finish(command: &mut Command) -> Result<String, String> {
    let output = run_limited(command, LIMIT)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    for line in stderr.lines() {
        println!("{line}");
    }
    if !output.status.success() {
        return Err(format!(
            "{}: {}",
            output.status,
            stderr.lines().last().unwrap_or_default()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a shell would find `program`.
fn installed(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Fails with `message` unless `good`.
fn ensure(good: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(message()) }
}
