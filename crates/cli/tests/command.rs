//! The command, on programs made for it and on the system's libevent standing in for ours.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use ferrevent_workbench::{Server, compile_c, compile_c_with, run};

const LIMIT: Duration = Duration::from_secs(60);

const LOOP: &str = r#"
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    struct event_base *base = event_base_new();
    printf("%s", argv[0]);
    for (int i = 1; i < argc; i++)
        printf(" %s", argv[i]);
    printf("\n");
    fflush(stdout);
    if (argc > 1 && !strcmp(argv[1], "stay"))
        getchar();
    event_base_free(base);
    return argc;
}
"#;

/// Compiled programs and folders that pose as the library.
struct Fixture {
    /// The system's libevent under all five names.
    full: PathBuf,
    /// A library under all five names that exports `event_base_new` only.
    poor: PathBuf,
    /// A program that needs `event_base_new` and `event_base_free`.
    program: PathBuf,
    /// A library that needs `event_base_new`, and a program that links only that library.
    wrapper: PathBuf,
    through_wrapper: PathBuf,
    /// Links no libevent.
    plain: PathBuf,
    dir: PathBuf,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("command");
        let source = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&dir).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let program = dir.join("program");
        compile_c(&[source("loop.c", LOOP)], &program, &["event"]).unwrap();

        let wrapper = dir.join("libwrapper.so");
        let text = "#include <event2/event.h>\nint wrap(void) { return !event_base_new(); }\n";
        compile_c_with(
            &[source("wrapper.c", text)],
            &wrapper,
            &["event"],
            &["-shared", "-fPIC"],
        )
        .unwrap();
        let through_wrapper = dir.join("through_wrapper");
        let text = "int wrap(void);\nint main(void) { return wrap(); }\n";
        let flags = [&format!("-L{}", dir.display()), "-Wl,-rpath,$ORIGIN"];
        compile_c_with(
            &[source("main.c", text)],
            &through_wrapper,
            &["wrapper"],
            &flags,
        )
        .unwrap();

        let plain = dir.join("plain");
        compile_c(
            &[source("plain.c", "int main(void) { return 0; }\n")],
            &plain,
            &[],
        )
        .unwrap();

        let full = dir.join("full");
        let poor = dir.join("poor");
        fs::create_dir_all(&full).unwrap();
        let text = "#include <stddef.h>\nvoid *event_base_new(void) { return NULL; }\n";
        let one = source("poor.c", &format!("{text}void *event_base_new(void);\n"));
        for name in ["", "_core", "_extra", "_pthreads", "_openssl"] {
            let soname = format!("libevent{name}-2.1.so.7");
            let flags = ["-shared", "-fPIC", &format!("-Wl,-soname,{soname}")];
            compile_c_with(&[&one], &poor.join(&soname), &[], &flags).unwrap();
            let link = full.join(&soname);
            let _ = fs::remove_file(&link);
            symlink(system_libevent(&program), link).unwrap();
        }
        Fixture {
            full,
            poor,
            program,
            wrapper,
            through_wrapper,
            plain,
            dir,
        }
    })
}

/// Where the loader finds libevent by itself.
fn system_libevent(program: &Path) -> PathBuf {
    let output = run(Command::new("ldd").arg(program), LIMIT).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("libevent-2.1.so.7"))
        .unwrap();
    PathBuf::from(line.split_whitespace().nth(2).unwrap())
}

fn ferrevent(library: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrevent"));
    command
        .args(args)
        .env("FERREVENT_LIB_DIR", library)
        .env_remove("LD_LIBRARY_PATH");
    command
}

fn finish(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = run(&mut command, LIMIT).unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn run_becomes_the_program() {
    let f = fixture();
    let (status, out, err) = finish(ferrevent(
        &f.full,
        &["run", "--", text(&f.program), "-a", "b"],
    ));
    assert_eq!(out, format!("{} -a b\n", f.program.display()));
    assert_eq!(status, Some(3), "the program's own exit status");
    let full = fs::canonicalize(&f.full).unwrap();
    let expected = format!(
        "ferrevent: {} runs on {}/libevent-2.1.so.7\n",
        f.program.display(),
        full.display()
    );
    assert_eq!(err, expected);
}

#[test]
fn run_keeps_the_process_and_maps_the_library_that_it_names() {
    let f = fixture();
    // A copy of the system's library, so that its path is in the maps and not that of a link.
    let copy = f.dir.join("copy");
    fs::create_dir_all(&copy).unwrap();
    for entry in fs::read_dir(&f.full).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let script = format!(
        "exec {} run -- {} stay",
        env!("CARGO_BIN_EXE_ferrevent"),
        text(&f.program)
    );
    let mut shell = Command::new("sh");
    // A standard input that stays open for as long as the shell's sleep would.
    shell
        .args(["-c", &format!("sleep 1000 | {{ {script}; }}")])
        .env("FERREVENT_LIB_DIR", &copy);
    let mut server = Server::start(&mut shell).unwrap();
    assert!(server.line(LIMIT).unwrap().ends_with("program stay"));
    let news = format!("runs on {}", fs::canonicalize(&copy).unwrap().display());
    server.wait_for_stderr(&news, LIMIT).unwrap();
    let child = child_that_runs(server.pid(), &f.program);
    let maps = ferrevent_workbench::mapped_libevent(child).unwrap();
    assert_eq!(
        maps,
        [fs::canonicalize(&copy).unwrap().join("libevent-2.1.so.7")]
    );
}

fn child_that_runs(parent: u32, program: &Path) -> u32 {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let exe = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let mut pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.find(|pid| exe(pid) == fs::canonicalize(program).ok())
        .unwrap()
}

#[test]
fn run_refuses_a_program_that_lacks_a_function() {
    let f = fixture();
    let (status, out, err) = finish(ferrevent(&f.poor, &["run", "--", text(&f.program)]));
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(
        err.contains("event_base_free") && !err.contains("event_base_new"),
        "{err}"
    );
}

#[test]
fn run_refuses_what_does_not_link_libevent() {
    let f = fixture();
    let (status, _, err) = finish(ferrevent(&f.full, &["run", "--", text(&f.plain)]));
    assert_eq!(status, Some(2));
    assert!(err.contains("does not link libevent"), "{err}");
}

#[test]
fn run_names_a_program_that_is_not_there() {
    let f = fixture();
    for program in ["no-such-program-anywhere", "/nonexistent/program"] {
        let (status, _, err) = finish(ferrevent(&f.full, &["run", "--", program]));
        assert_eq!(status, Some(2));
        assert!(err.contains(program), "{err}");
    }
}

#[test]
fn run_explains_scripts() {
    let f = fixture();
    let script = f.dir.join("script");
    fs::write(&script, "#!/bin/sh\ntrue\n").unwrap();
    let (status, _, err) = finish(ferrevent(&f.full, &["run", "--", text(&script)]));
    assert_eq!(status, Some(2));
    assert!(err.contains("a script, run by /bin/sh"), "{err}");
}

#[test]
fn run_refuses_a_program_whose_rpath_wins() {
    let f = fixture();
    let out = f.dir.join("rpath");
    let flag = format!("-Wl,--disable-new-dtags,-rpath,{}", f.poor.display());
    compile_c_with(&[f.dir.join("loop.c")], &out, &["event"], &[&flag]).unwrap();
    let (status, _, err) = finish(ferrevent(&f.full, &["run", "--", text(&out)]));
    assert_eq!(status, Some(2));
    assert!(
        err.contains("RPATH") && err.contains(text(&f.poor)),
        "{err}"
    );
}

#[test]
fn check_lists_what_is_there_and_what_is_missing() {
    let f = fixture();
    let (status, out, _) = finish(ferrevent(&f.full, &["check", text(&f.program)]));
    assert_eq!(status, Some(0));
    assert!(out.contains("2 functions of libevent, all there"), "{out}");
    let (status, out, _) = finish(ferrevent(&f.poor, &["check", text(&f.program)]));
    assert_eq!(status, Some(1));
    assert!(out.contains("2 functions of libevent, 1 missing"), "{out}");
    assert!(out.contains("  there    event_base_new\n"), "{out}");
    assert!(out.contains("  missing  event_base_free\n"), "{out}");
}

#[test]
fn check_follows_libraries() {
    let f = fixture();
    let (status, out, err) = finish(ferrevent(
        &f.poor,
        &["check", text(&f.wrapper), text(&f.through_wrapper)],
    ));
    assert_eq!(status, Some(0), "{err}");
    let line = format!(
        "event_base_new  (needed by {})",
        fs::canonicalize(&f.wrapper).unwrap().display()
    );
    assert!(out.contains(&line), "{out}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let f = fixture();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // `run` would read what is written.
    let mut command = Command::new("timeout");
    command.args([
        LIMIT.as_secs().to_string().as_str(),
        env!("CARGO_BIN_EXE_ferrevent"),
    ]);
    command
        .arg("check")
        .arg(&f.program)
        .env("FERREVENT_LIB_DIR", &f.full);
    let output = command
        .stdout(writer)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
}

#[test]
fn check_reports_the_worst() {
    let f = fixture();
    let (status, out, err) = finish(ferrevent(
        &f.poor,
        &["check", text(&f.plain), text(&f.program), "/etc/passwd"],
    ));
    assert_eq!(status, Some(2));
    assert!(out.contains("1 missing"), "{out}");
    assert!(
        err.contains("no ELF file") && err.contains("does not link libevent"),
        "{err}"
    );
}

#[test]
fn a_folder_without_the_library_is_named() {
    let (status, _, err) = finish(ferrevent(Path::new("/nonexistent"), &["check", "/bin/sh"]));
    assert_eq!(status, Some(2));
    assert!(err.contains("FERREVENT_LIB_DIR: /nonexistent"), "{err}");
}
