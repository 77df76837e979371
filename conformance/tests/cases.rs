//! Runs every case of `cases/` on the installed libevent and on ours and compares what they print.
//!
//! ```text
//! cargo test -p ferrevent-conformance                          all cases
//! FERREVENT_CASES=watermark cargo test -p ferrevent-conformance    those with this in their name
//! ```
//!
//! # Adding a case
//!
//! Write `CASE(name) /* statement */ { ... }` into a file of `cases/`, or start a new file there:
//! nothing else needs to know of it. `cases/case.h` has what a case is made of. The name says the
//! behaviour, and is unique over all files.
//!
//! - Print what a correct program can rely on: order, totals, flags, return values, the state
//!   inside a callback. Never a pointer, a descriptor number, a time, the number of loop passes or
//!   the size of one read. `trace_merge(true)` joins the pieces of one transfer.
//! - A case ends by itself, and waits for conditions (`run_until…`), never for time to pass, except
//!   to show that something does not happen (`run_for`).
//! - A case frees what it made: all of them also run under valgrind.
//!
//! Every case runs with epoll, with poll and with select. One that depends on what the method can do asks
//! `event_base_get_features`. With io_uring our library is compared with libevent's epoll, where the kernel allows it.
//!
//! # Where ferrevent differs on purpose
//!
//! `CASE_DIFFERS(name, "J18", "reason in one line")` names the decision. `expected/NAME.txt` then
//! holds our trace, and `expected/NAME.stock.txt` libevent's. Without the second file the case is
//! not run on libevent at all: there it hangs, crashes or prints something else every time.
//!
//! `CASE_DIFFERS_OFF_EPOLL` is for a difference that is there with poll and select only. The files are
//! then called `NAME.poll.txt`, `NAME.poll.stock.txt` and so on.

// A file, folder or compiler that is missing ends the test with its message, wherever it is noticed.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use ferrevent_conformance::{
    Case, ENDED_BADLY, Method, Program, Side, compile_all, difference, expected, expected_files,
    in_parallel,
};
use ferrevent_workbench as workbench;

#[test]
fn every_case_succeeds_on_libevent() {
    let failures: Vec<String> = runs()
        .iter()
        .filter_map(|run| {
            let trace = stock_traces().get(&run.key())?;
            let wanted = match run.case.expected_stem(run.method) {
                Some(stem) => expected(&stem, Side::Stock).unwrap()?,
                // Nothing to compare with, but it must have ended well.
                None if trace.lines().any(|line| line.starts_with(ENDED_BADLY)) => String::new(),
                None => return None,
            };
            difference(&wanted, trace).map(|lines| format!("{run} on libevent:\n{lines}"))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} cases fail\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_case_prints_the_same_on_both_libraries() {
    let dir = workbench::library().unwrap();
    for program in programs() {
        let stock = program.library(Side::Stock).unwrap();
        let ours = program.library(Side::Ours(&dir)).unwrap();
        assert!(
            ours.starts_with(&dir),
            "{} ran on {}",
            program.name,
            ours.display()
        );
        assert!(
            !stock.starts_with(&dir),
            "{} ran on {}",
            program.name,
            stock.display()
        );
    }
    let stock = stock_traces();
    let mut runs = runs();
    match programs()[0].lacks(Method::IoUring, &dir).unwrap() {
        None => runs.extend(runs_with_io_uring()),
        Some(why) => eprintln!("skipped with io_uring: {why}"),
    }
    let failures: Vec<String> = in_parallel(&runs, |run| {
        let lines = compare(run, &dir, stock).err()?;
        Some(format!("{run}\n{lines}"))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(
        failures.is_empty(),
        "{} of {} runs differ (- wanted, + ours)\n{}",
        failures.len(),
        runs.len(),
        failures.join("\n")
    );
}

#[test]
fn names_are_unique_and_expected_traces_have_their_cases() {
    let mut names = BTreeSet::new();
    let mut differing = BTreeSet::new();
    for program in programs() {
        for case in &program.cases {
            assert!(
                names.insert(&case.name),
                "two cases are called {}",
                case.name
            );
            differing.extend(Method::ALL.iter().filter_map(|&m| case.expected_stem(m)));
        }
    }
    let files = expected_files().unwrap();
    for name in &differing {
        assert!(
            files.contains(&format!("{name}.txt")),
            "expected/{name}.txt is missing"
        );
    }
    for file in &files {
        let name = file
            .strip_suffix(".txt")
            .map(|name| name.strip_suffix(".stock").unwrap_or(name));
        assert!(
            name.is_some_and(|name| differing.contains(name)),
            "expected/{file} belongs to no case that differs"
        );
    }
}

/// A case with a method.
struct Run {
    program: &'static Program,
    case: &'static Case,
    method: Method,
}

impl Run {
    /// Where to find what libevent prints.
    fn key(&self) -> (String, &'static str) {
        let method = match self.method {
            Method::IoUring => Method::Epoll,
            method => method,
        };
        (self.case.name.clone(), method.name())
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, case) = (&self.program.name, &self.case.name);
        write!(f, "{program}: {case} with {}", self.method.name())
    }
}

/// What libevent has printed, by the case and the method.
type Traces = BTreeMap<(String, &'static str), String>;

fn compare(run: &Run, dir: &Path, stock: &Traces) -> Result<(), String> {
    let ours = run
        .program
        .run(&run.case.name, Side::Ours(dir), run.method)?;
    let wanted = match run.case.expected_stem(run.method) {
        Some(stem) => expected(&stem, Side::Ours(dir))?.ok_or("    no expected trace")?,
        None => stock
            .get(&run.key())
            .cloned()
            .ok_or("    not run on libevent")?,
    };
    match difference(&wanted, &ours) {
        Some(lines) => Err(lines),
        None => Ok(()),
    }
}

/// What libevent prints for each selected case that can run there. Run once for all tests.
fn stock_traces() -> &'static Traces {
    static TRACES: OnceLock<Traces> = OnceLock::new();
    TRACES.get_or_init(|| {
        let traces = in_parallel(&runs(), |run| {
            if let Some(stem) = run.case.expected_stem(run.method) {
                expected(&stem, Side::Stock).unwrap()?;
            }
            // A case that does not end has a trace too: the message that says so.
            let trace = run
                .program
                .run(&run.case.name, Side::Stock, run.method)
                .unwrap_or_else(|message| format!("{ENDED_BADLY} by us: {message}]\n"));
            Some((run.key(), trace))
        });
        traces.into_iter().flatten().collect()
    })
}

/// The cases that `FERREVENT_CASES` selects, with their programs, and each with every method.
fn runs() -> Vec<Run> {
    let wanted = std::env::var("FERREVENT_CASES").unwrap_or_default();
    let cases = programs()
        .iter()
        .flat_map(|program| program.cases.iter().map(move |case| (program, case)))
        .filter(|(program, case)| case.name.contains(&wanted) || program.name == wanted);
    cases
        .flat_map(|(program, case)| {
            Method::ALL.map(|method| Run {
                program,
                case,
                method,
            })
        })
        .collect()
}

/// Cases that say by which method a base works that has not chosen one.
const SAY_THE_METHOD: [&str; 4] = [
    "config_each_method_works",
    "config_environment_names_methods_to_avoid",
    "config_methods",
    "global_base",
];

/// The selected cases with io_uring, which our library has only.
fn runs_with_io_uring() -> impl Iterator<Item = Run> {
    let with_epoll = runs().into_iter().filter(|run| {
        run.method == Method::Epoll && !SAY_THE_METHOD.contains(&run.case.name.as_str())
    });
    with_epoll.map(|run| Run {
        method: Method::IoUring,
        ..run
    })
}

/// All files of cases, compiled once for all tests.
fn programs() -> &'static [Program] {
    static PROGRAMS: OnceLock<Vec<Program>> = OnceLock::new();
    PROGRAMS.get_or_init(|| compile_all(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap())
}
