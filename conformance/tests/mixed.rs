//! The crate `ferrevent-mixed`: its declarations, compared with libevent's headers, and its tests, on libevent and on our
//! library. They are built once, against ours, so that nothing needs a libevent in order to be built.

// A file, folder or compiler that is missing ends the test with its message.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench as workbench;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn the_declarations_are_those_of_the_headers() {
    workbench::apt_install(&["gcc", "libc6-dev", "libevent-dev"]).unwrap();
    let file = workbench::workspace_root().join("crates/mixed/src/ffi.rs");
    let rust = fs::read_to_string(file).unwrap();
    let c = checks(&rust);
    assert!(c.matches(" = &").count() > 60, "it found them all\n{c}");
    compile(&c, "declarations").unwrap();
    // The check itself would notice.
    for (right, wrong) in [
        (
            "int (*f_event_del)(struct event *)",
            "int (*f_event_del)(struct event_base *)",
        ),
        (
            "sizeof(struct evbuffer_ptr) == 24",
            "sizeof(struct evbuffer_ptr) == 16",
        ),
        (
            "void (*t_event_callback_fn)(int, short,",
            "void (*t_event_callback_fn)(int, int,",
        ),
        (
            "(BEV_OPT_CLOSE_ON_FREE) == (1)",
            "(BEV_OPT_CLOSE_ON_FREE) == (2)",
        ),
    ] {
        let broken = c.replace(right, wrong);
        assert_ne!(broken, c, "{right}\n{c}");
        assert!(compile(&broken, "broken").is_err(), "{wrong}");
    }
}

#[test]
fn the_objects_behave_on_both_libraries() {
    workbench::apt_install(&["libevent-dev"]).unwrap();
    let dir = workbench::library().unwrap();
    for program in built_tests(&dir) {
        for library in [None, Some(&dir)] {
            let mut command = Command::new(&program);
            if let Some(dir) = library {
                workbench::with_library(&mut command, dir);
            }
            expect_success(
                &mut command,
                &format!("{} on {library:?}", program.display()),
            );
        }
    }
}

#[test]
#[ignore = "slow: under valgrind"]
fn the_objects_touch_and_lose_no_memory() {
    workbench::apt_install(&["libevent-dev", "valgrind"]).unwrap();
    let dir = workbench::library().unwrap();
    for program in built_tests(&dir) {
        for library in [None, Some(&dir)] {
            let mut command = Command::new("valgrind");
            command.args(["--quiet", "--leak-check=full", "--show-leak-kinds=definite"]);
            command.args(["--errors-for-leak-kinds=definite", "--error-exitcode=99"]);
            command.arg(&program).arg("--test-threads=1");
            // A program that is aborted on purpose frees nothing.
            command.args(["--skip", "aborts"]);
            if let Some(dir) = library {
                workbench::with_library(&mut command, dir);
            }
            expect_success(
                &mut command,
                &format!("{} on {library:?}", program.display()),
            );
        }
    }
}

fn expect_success(command: &mut Command, what: &str) {
    let output = workbench::run(command, LIMIT).unwrap();
    assert!(
        output.status.success(),
        "{what}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The test programs of the crate.
fn built_tests(dir: &Path) -> Vec<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workbench::workspace_root());
    cargo.args([
        "test",
        "--locked",
        "--package",
        "ferrevent-mixed",
        "--no-run",
    ]);
    cargo.args([
        "--features",
        "linked-tests",
        "--test",
        "objects",
        "--test",
        "bufferevents",
        "--test",
        "requests",
    ]);
    cargo.args(["--message-format", "short"]);
    cargo.env(workbench::LIB_DIR_VARIABLE, dir);
    let output = workbench::run(&mut cargo, Duration::from_secs(600)).unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let programs: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Executable ")?.split_once('('))
        .filter_map(|(_, rest)| rest.strip_suffix(')'))
        .map(|path| workbench::workspace_root().join(path))
        .collect();
    assert_eq!(programs.len(), 3, "{text}");
    programs
}

fn compile(c: &str, name: &str) -> Result<(), String> {
    let folder = workbench::Folder::create()?;
    let source = folder.path().join("check.c");
    fs::write(&source, c).map_err(|e| e.to_string())?;
    let out = folder.path().join(name);
    workbench::compile_c(&[source], &out, &["event"])
}

/// A C program that compiles if each declaration says what the headers say.
fn checks(rust: &str) -> String {
    let mut c = String::new();
    for header in ["event", "buffer", "bufferevent", "listener", "http"] {
        writeln!(c, "#include <event2/{header}.h>").unwrap();
    }
    c.push_str("#include <stddef.h>\n#include <sys/uio.h>\n");
    c.push_str("_Static_assert(sizeof(struct evbuffer_ptr) == 24, \"\");\n");
    c.push_str("_Static_assert(offsetof(struct evbuffer_ptr, pos) == 0, \"\");\n");
    c.push_str("_Static_assert(sizeof(struct evbuffer_iovec) == sizeof(struct iovec), \"\");\n");
    c.push_str("_Static_assert(sizeof(size_t) == sizeof(ev_ssize_t), \"\");\n");
    for (text, style) in [
        ("ANY", 0),
        ("CRLF", 1),
        ("CRLF_STRICT", 2),
        ("LF", 3),
        ("NUL", 4),
    ] {
        writeln!(c, "_Static_assert(EVBUFFER_EOL_{text} == {style}, \"\");").unwrap();
    }
    // Declarations may go over several lines; none has a semicolon inside.
    let rust: Vec<&str> = rust
        .lines()
        .filter(|line| !line.trim().starts_with("//"))
        .collect();
    let rust = rust.join(" ");
    for declaration in rust.split(';') {
        if let Some((_, rest)) = declaration.split_once("pub(crate) fn ") {
            let (name, rest) = rest.split_once('(').unwrap();
            let (arguments, result) = signature(rest);
            writeln!(c, "{result} (*f_{name})({arguments}) = &{name};").unwrap();
        } else if let Some((_, rest)) = declaration.split_once("pub(crate) type ") {
            let (name, rest) = rest.split_once(" =").unwrap();
            if let Some((_, rest)) = rest.split_once("extern \"C\" fn(") {
                let (arguments, result) =
                    signature(rest.trim_end().trim_end_matches([',', '>', ' ']));
                writeln!(c, "{result} (*t_{name})({arguments}) = ({name})0;").unwrap();
            }
        } else if let Some((_, rest)) = declaration.split_once("pub(crate) const ") {
            let (name, rest) = rest.split_once(':').unwrap();
            let (_, value) = rest.split_once('=').unwrap();
            writeln!(c, "_Static_assert(({name}) == ({}), \"\");", value.trim()).unwrap();
        }
    }
    c.push_str("int main(void) { return 0; }\n");
    c
}

/// The arguments and the result in C, of what stands behind the opening parenthesis in Rust.
fn signature(rust: &str) -> (String, String) {
    let (arguments, result) = rust.rsplit_once(')').unwrap();
    let arguments: Vec<String> = arguments
        .split(',')
        .map(str::trim)
        .filter(|argument| !argument.is_empty())
        .map(|argument| c_type(argument.split_once(": ").map_or(argument, |(_, ty)| ty)))
        .collect();
    let arguments = if arguments.is_empty() {
        "void".to_owned()
    } else {
        arguments.join(", ")
    };
    let result = result
        .trim()
        .strip_prefix("-> ")
        .map_or("void".to_owned(), c_type);
    (arguments, result)
}

fn c_type(rust: &str) -> String {
    if let Some(pointee) = rust.strip_prefix("*const ") {
        return format!("const {} *", c_type(pointee));
    }
    if let Some(pointee) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(pointee));
    }
    match rust {
        "c_int" => "int",
        "c_short" => "short",
        "c_char" => "char",
        "c_void" => "void",
        "libc::c_uint" => "unsigned",
        "usize" => "size_t",
        "isize" => "ev_ssize_t",
        "u8" => "unsigned char",
        callback if callback.ends_with("cb") || callback.ends_with("_fn") => callback,
        other => return format!("struct {other}"),
    }
    .to_owned()
}
