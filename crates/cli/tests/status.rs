//! `ferrevent status`: which libevent programs load, and which one processes have.
//!
//! Other processes of the machine are in its answers too, so each test looks for its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{Folder, SONAMES, Server, compile_c, library, mapped_libevent, run};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_process_on_the_systems_libevent_is_told_from_one_on_ours() {
    let folder = Folder::create().unwrap();
    let program = program(folder.path());
    let on_libevent = Running::start(&program, None);
    let on_ours = Running::start(&program, Some(&library().unwrap()));

    let status = status();
    let process = on_libevent.within(&status);
    assert_eq!(process["ferrevent"], false);
    assert_eq!(process["restart"], Value::Null);
    // What it has mapped is what programs find by themselves.
    let first = &status["loads"][0];
    assert_eq!(first["name"], SONAMES[0]);
    let found = fs::canonicalize(first["file"].as_str().unwrap()).unwrap();
    let mapped = process["mapped"][0]["file"].as_str().unwrap();
    assert_eq!(Path::new(mapped), found);

    let process = on_ours.within(&status);
    assert_eq!(process["ferrevent"], true);
    // It would get it again, since it was started with the same search path.
    assert_eq!(process["restart"], Value::Null);
    assert_eq!(process["name"], "stays");
}

#[test]
fn a_process_whose_library_was_replaced_needs_a_restart() {
    let folder = Folder::create().unwrap();
    let program = program(folder.path());
    let own = copy_of_the_library(&folder);
    let running = Running::start(&program, Some(&own));
    assert_eq!(running.within(&status())["restart"], Value::Null);

    // As dpkg does it.
    let new = own.join("new");
    fs::copy(own.join(SONAMES[0]), &new).unwrap();
    fs::rename(&new, own.join(SONAMES[0])).unwrap();
    let process = running.within(&status()).clone();
    assert_eq!(process["mapped"][0]["gone"], true);
    assert!(process["restart"].is_string(), "{process}");
    assert_eq!(process["ferrevent"], true);

    // As when the package is removed: root sees what it runs on, others do not.
    fs::remove_file(own.join(SONAMES[0])).unwrap();
    let process = running.within(&status()).clone();
    assert_eq!(process["mapped"][0]["gone"], true);
    assert_ne!(process["ferrevent"], false);
}

#[test]
fn a_process_that_would_load_another_library_needs_a_restart() {
    let folder = Folder::create().unwrap();
    let program = program(folder.path());
    copy_of_the_library(&folder);
    let link = folder.path().join("link");
    symlink("library", &link).unwrap();
    let running = Running::start(&program, Some(&link));
    assert_eq!(running.within(&status())["restart"], Value::Null);

    fs::remove_file(&link).unwrap();
    let process = running.within(&status()).clone();
    let why = process["restart"].as_str().unwrap();
    assert!(why.contains("it would load"), "{why}");
    assert_eq!(process["mapped"][0]["gone"], false);
    assert_eq!(process["ferrevent"], true);
}

#[test]
fn a_process_that_has_loaded_its_library_late_finds_it_by_the_same_path() {
    let folder = Folder::create().unwrap();
    let source = folder.path().join("late.c");
    let text = format!(
        r#"
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {{
    if (!dlopen("{}", RTLD_NOW))
        return 1;
    puts("here");
    fflush(stdout);
    for (;;)
        pause();
}}
"#,
        SONAMES[0]
    );
    fs::write(&source, text).unwrap();
    // It has the name that the tests look for.
    let program = folder.path().join("stays");
    compile_c(&[source], &program, &[]).unwrap();
    let on_libevent = Running::start(&program, None);
    let on_ours = Running::start(&program, Some(&library().unwrap()));

    let status = status();
    assert_eq!(on_libevent.within(&status)["restart"], Value::Null);
    assert_eq!(on_ours.within(&status)["restart"], Value::Null);
}

/// A process that has made an event base, or has loaded what it takes to make one.
struct Running(Server);

impl Running {
    fn start(program: &Path, library: Option<&Path>) -> Self {
        let mut command = Command::new(program);
        command.env_remove("LD_LIBRARY_PATH");
        if let Some(library) = library {
            command.env("LD_LIBRARY_PATH", library);
        }
        let server = Server::start(&mut command).unwrap();
        assert_eq!(server.line(LIMIT).unwrap(), "here");
        assert!(!mapped_libevent(server.pid()).unwrap().is_empty());
        Self(server)
    }

    /// What `status` says of it.
    fn within<'a>(&self, status: &'a Value) -> &'a Value {
        let processes = status["processes"].as_array().unwrap();
        let this = processes.iter().find(|p| p["pid"] == self.0.pid());
        this.unwrap_or_else(|| panic!("{} is not in {status:#}", self.0.pid()))
    }
}

/// The answer as JSON, which the exit status and the text agree with.
fn status() -> Value {
    let ferrevent = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrevent"));
        run(command.args(args), LIMIT).unwrap()
    };
    let output = ferrevent(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let processes = status["processes"].as_array().unwrap();
    let restart = processes
        .iter()
        .any(|process| process["restart"].is_string());
    assert_eq!(output.status.code(), Some(i32::from(restart)));
    let text = String::from_utf8(ferrevent(&["status"]).stdout).unwrap();
    assert!(
        text.contains(SONAMES[0]) && text.contains(" stays\n"),
        "{text}"
    );
    status
}

/// Compiles a program that stays until it is killed.
fn program(folder: &Path) -> PathBuf {
    let source = folder.join("stays.c");
    let text = r#"
#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    struct event_base *base = event_base_new();
    puts("here");
    fflush(stdout);
    for (;;)
        pause();
    event_base_free(base);
}
"#;
    fs::write(&source, text).unwrap();
    let program = folder.join("stays");
    compile_c(&[source], &program, &["event"]).unwrap();
    program
}

fn copy_of_the_library(folder: &Folder) -> PathBuf {
    let copy = folder.path().join("library");
    fs::create_dir(&copy).unwrap();
    for name in SONAMES {
        fs::copy(library().unwrap().join(name), copy.join(name)).unwrap();
    }
    copy
}
