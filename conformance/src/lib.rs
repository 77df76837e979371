//! C programs that are compiled once and run on two libraries: the installed libevent and ours.
//!
//! `tests/cases.rs` says how to add a case. A [`Program`] is one file of `cases/`, compiled with
//! the framework in `harness/`; it prints a trace per [`Case`], and [`difference`] shows where two
//! traces part.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ferrevent_workbench as workbench;

/// How long one case may take. The case's own watchdog ends it a second earlier.
pub const CASE_LIMIT: Duration = Duration::from_secs(10);

/// How long one case may take under valgrind, which makes it some fifty times slower.
const MEMCHECK_LIMIT: Duration = Duration::from_secs(120);

/// How many operations a case of random ones does for each of its seeds.
const OPERATIONS_VARIABLE: &str = "CASE_OPERATIONS";

/// How many seconds a case gives itself; 0 leaves it to the caller.
const WATCHDOG_VARIABLE: &str = "CASE_WATCHDOG";

/// Valgrind runs the case.
const VALGRIND_VARIABLE: &str = "CASE_VALGRIND";

/// How many cases run at a time. Some have timeouts of 20 ms: more at a time than the machine has
/// processors would only make them slower.
const THREADS: usize = 2;

/// How the line begins by which [`Program::run`] says that a case did not end with success.
pub const ENDED_BADLY: &str = "[ended";

/// One compiled file of cases.
#[derive(Debug)]
pub struct Program {
    /// The name of its source without the folder and the `.c`.
    pub name: String,
    /// Its cases, in the order of the source.
    pub cases: Vec<Case>,
    path: PathBuf,
}

/// One case as its program lists it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique over all programs.
    pub name: String,
    /// Where ferrevent differs on purpose: the decision's mark and the reason.
    pub differs: Option<(String, String)>,
    /// That is so only with other methods than epoll.
    pub off_epoll: bool,
}

impl Case {
    /// Where ferrevent differs on purpose with this method: the decision's mark.
    pub fn mark(&self, method: Method) -> Option<&str> {
        let (mark, _) = self.differs.as_ref()?;
        (!self.off_epoll || matches!(method, Method::Poll | Method::Select)).then_some(mark)
    }

    /// How the files in `expected/` begin that hold what is printed with this method, if there are any.
    pub fn expected_stem(&self, method: Method) -> Option<String> {
        self.mark(method)?;
        Some(match method {
            _ if !self.off_epoll => self.name.clone(),
            method => format!("{}.{}", self.name, method.name()),
        })
    }
}

/// How a base learns what is ready; both libraries are told in the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// What both choose by themselves.
    Epoll,
    /// With `EVENT_NOEPOLL`.
    Poll,
    /// With `EVENT_NOEPOLL` and `EVENT_NOPOLL`.
    Select,
    /// With `FERREVENT_METHOD`, which libevent does not know: it uses epoll, and that is what ours is to be like.
    IoUring,
}

impl Method {
    /// All that libevent has.
    pub const ALL: [Self; 3] = [Self::Epoll, Self::Poll, Self::Select];

    /// Its name in libevent.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Poll => "poll",
            Self::Select => "select",
            Self::IoUring => "io_uring",
        }
    }

    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Epoll => &[],
            Self::Poll => &[("EVENT_NOEPOLL", "1")],
            Self::Select => &[("EVENT_NOEPOLL", "1"), ("EVENT_NOPOLL", "1")],
            Self::IoUring => &[("FERREVENT_METHOD", "io_uring")],
        }
    }
}

/// The library that a program runs on.
#[derive(Debug, Clone, Copy)]
pub enum Side<'a> {
    /// The installed libevent.
    Stock,
    /// Ours, from the folder that holds it under its five sonames.
    Ours(&'a Path),
}

/// The C files of `cases/`, sorted.
pub fn sources() -> Result<Vec<PathBuf>, String> {
    let dir = folder("cases");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut sources = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// Compiles all of [`sources`] into the folder `out`; sorted by name.
///
/// Installs the headers (Debian's libevent-dev and libssl-dev) when they are missing and this process may.
pub fn compile_all(out: &Path) -> Result<Vec<Program>, String> {
    workbench::apt_install(&["libevent-dev", "libssl-dev"])
        .map_err(|missing| missing.to_string())?;
    let sources = sources()?;
    let programs = in_parallel(&sources, |source| Program::compile(source, out));
    programs.into_iter().collect()
}

/// Does `work` on all `items`, some at a time; the results in the order of the items.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return done;
            };
            done.push((index, work(item)));
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The traces that are written down: `expected/STEM.txt` for ours, `expected/STEM.stock.txt` for
/// libevent. None when there is no such file.
pub fn expected(stem: &str, side: Side<'_>) -> Result<Option<String>, String> {
    let ending = match side {
        Side::Stock => "stock.txt",
        Side::Ours(_) => "txt",
    };
    let path = folder("expected").join(format!("{stem}.{ending}"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// The names of the files in `expected/`, sorted.
pub fn expected_files() -> Result<Vec<String>, String> {
    let dir = folder("expected");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{}: {e}", dir.display()))?;
    names.sort();
    Ok(names)
}

impl Program {
    /// Compiles `source` into the folder `out` and asks the program for its cases.
    pub fn compile(source: &Path, out: &Path) -> Result<Self, String> {
        let stem = source
            .file_stem()
            .ok_or_else(|| format!("{}: no name", source.display()))?;
        let path = out.join(stem);
        let harness = folder("harness").join("case.c");
        let include = format!("-I{}", folder("cases").display());
        let mut libraries = vec!["event", "event_pthreads"];
        // Only the cases of TLS need OpenSSL: the others show that the library works without it.
        if stem.to_string_lossy().starts_with("tls_") {
            libraries.extend(["event_openssl", "ssl", "crypto"]);
        }
        workbench::compile_c_with(
            &[source, &harness],
            &path,
            &libraries,
            &["-D_GNU_SOURCE", &include],
        )?;
        let mut program = Self {
            name: stem.to_string_lossy().into_owned(),
            cases: Vec::new(),
            path,
        };
        for line in program.answer("--list", Side::Stock)?.lines() {
            let mut fields = line.split('\t');
            let name = fields.next().unwrap_or_default().to_owned();
            let differs = match (fields.next(), fields.next()) {
                (Some(mark), Some(reason)) if !mark.is_empty() => {
                    Some((mark.into(), reason.into()))
                }
                _ => None,
            };
            program.cases.push(Case {
                name,
                differs,
                off_epoll: fields.next() == Some("off epoll"),
            });
        }
        Ok(program)
    }

    /// The file from which this program gets libevent's functions on `side`.
    pub fn library(&self, side: Side<'_>) -> Result<PathBuf, String> {
        Ok(PathBuf::from(self.answer("--library", side)?.trim_end()))
    }

    /// What `case` prints on `side`. Anything but success adds a line in brackets that says how it
    /// ended, followed by its standard error.
    pub fn run(&self, case: &str, side: Side<'_>, method: Method) -> Result<String, String> {
        let mut command = self.command(case, side);
        command.envs(method.environment().iter().copied());
        if matches!(method, Method::Poll | Method::Select) {
            // How a buffer does its work has nothing to do with the method.
            command.env(OPERATIONS_VARIABLE, "100");
        }
        let output = workbench::run(&mut command, CASE_LIMIT)?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let how = match output.status.signal() {
            Some(signal) => format!("by signal {signal}"),
            None => format!("with {}", output.status),
        };
        text.push_str(&format!("{ENDED_BADLY} {how}]\n"));
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    /// Runs `case` on ours under valgrind: what it complains of, or None when it is clean.
    ///
    /// Blocks that are still reachable at the end are fine, everything that leaked is not. What
    /// valgrind calls possibly lost is reachable too: Rust's `Arc` keeps pointers to the middle of
    /// its block, and the standard library keeps one for each thread that has asked for itself.
    pub fn memcheck(&self, case: &str, dir: &Path) -> Result<Option<String>, String> {
        let leaks = "definite,indirect";
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
        valgrind.arg(format!("--show-leak-kinds={leaks}"));
        valgrind.arg(format!("--errors-for-leak-kinds={leaks}"));
        valgrind
            .arg(&self.path)
            .arg(case)
            .env(WATCHDOG_VARIABLE, "0")
            .env(VALGRIND_VARIABLE, "1")
            .env(OPERATIONS_VARIABLE, "500");
        workbench::with_library(&mut valgrind, dir);
        let output = workbench::run(&mut valgrind, MEMCHECK_LIMIT)?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code() == Some(99)).then_some(complaint))
    }

    /// Why our library does not use `method` here when it is told to, or None if it does.
    pub fn lacks(&self, method: Method, dir: &Path) -> Result<Option<String>, String> {
        let (used, log) = self.method_used(dir, method.environment())?;
        Ok((used != method.name()).then_some(log))
    }

    /// By which method a base of our library works with `environment`, and what the library logs.
    pub fn method_used(
        &self,
        dir: &Path,
        environment: &[(&str, &str)],
    ) -> Result<(String, String), String> {
        let mut command = self.command("--method", Side::Ours(dir));
        command.envs(environment.iter().copied());
        let output = workbench::run(&mut command, CASE_LIMIT)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    fn answer(&self, question: &str, side: Side<'_>) -> Result<String, String> {
        let output = workbench::run(&mut self.command(question, side), CASE_LIMIT)?;
        if !output.status.success() {
            return Err(format!(
                "{} {question}: {}\n{}",
                self.name,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, argument: &str, side: Side<'_>) -> Command {
        let mut command = Command::new(&self.path);
        command.arg(argument);
        // Both choose their backend by themselves, whatever the caller's environment says.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("EVENT_") || name_text == "FERREVENT_METHOD" {
                command.env_remove(name);
            }
        }
        match side {
            Side::Stock => command.env_remove("LD_LIBRARY_PATH"),
            Side::Ours(dir) => workbench::with_library(&mut command, dir),
        };
        command
    }
}

/// The lines in which `found` is not `wanted`, or None: common lines at both ends are left out
/// except for the one before the first difference.
pub fn difference(wanted: &str, found: &str) -> Option<String> {
    if wanted == found {
        return None;
    }
    let (wanted, found): (Vec<_>, Vec<_>) = (wanted.lines().collect(), found.lines().collect());
    let head = wanted
        .iter()
        .zip(&found)
        .take_while(|(a, b)| a == b)
        .count();
    let shorter = wanted.len().min(found.len()) - head;
    let tail = wanted.iter().rev().zip(found.iter().rev());
    let tail = tail.take(shorter).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in &wanted[head.saturating_sub(1)..head] {
        let _ = writeln!(text, "      {line}");
    }
    for line in &wanted[head..wanted.len() - tail] {
        let _ = writeln!(text, "    - {line}");
    }
    for line in &found[head..found.len() - tail] {
        let _ = writeln!(text, "    + {line}");
    }
    Some(text)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn equal_traces_have_no_difference() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn only_the_differing_lines_and_the_one_before_are_shown() {
        let shown = difference("a\nb\nc\nd\n", "a\nb\nx\ny\nd\n").unwrap();
        assert_eq!(shown, "      b\n    - c\n    + x\n    + y\n");
    }

    #[test]
    fn a_missing_end_is_shown() {
        assert_eq!(difference("a\na\n", "a\n").unwrap(), "      a\n    - a\n");
        assert_eq!(difference("", "a\n").unwrap(), "    + a\n");
    }
}
