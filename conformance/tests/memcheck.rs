//! Runs every case of `cases/` on our library under valgrind's memcheck.
//!
//! The cases themselves are clean: what valgrind finds is the library's.

// A file, folder or compiler that is missing ends the test with its message.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use ferrevent_conformance::{Case, Program, compile_all, in_parallel};
use ferrevent_workbench as workbench;

#[test]
#[ignore = "slow: every case under valgrind"]
fn no_case_makes_our_library_touch_or_lose_memory() {
    workbench::apt_install(&["valgrind"]).unwrap();
    let dir = workbench::library().unwrap();
    let programs = compile_all(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("memcheck")).unwrap();
    let wanted = std::env::var("FERREVENT_CASES").unwrap_or_default();
    let cases: Vec<(&Program, &Case)> = programs
        .iter()
        .flat_map(|program| program.cases.iter().map(move |case| (program, case)))
        .filter(|(program, case)| case.name.contains(&wanted) || program.name == wanted)
        .collect();
    let complaints: Vec<String> = in_parallel(&cases, |(program, case)| {
        let text = match program.memcheck(&case.name, &dir) {
            Ok(None) => return None,
            Ok(Some(text)) | Err(text) => text,
        };
        Some(format!("{}: {}\n{text}", program.name, case.name))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(
        complaints.is_empty(),
        "valgrind complains of {} of {} cases\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
}
