//! How the user of a program says what its bases are to wait with.

// A file, folder or compiler that is missing ends the test with its message.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use ferrevent_conformance::{Method, Program, sources};
use ferrevent_workbench as workbench;

fn program() -> Program {
    workbench::apt_install(&["libevent-dev"]).unwrap();
    let is_config = |path: &std::path::PathBuf| path.ends_with("loop_config.c");
    let source = sources().unwrap().into_iter().find(is_config).unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("method");
    std::fs::create_dir_all(&out).unwrap();
    Program::compile(&source, &out).unwrap()
}

#[test]
fn the_environment_asks_for_a_method() {
    let (dir, program) = (workbench::library().unwrap(), program());
    let used = |environment: &[(&str, &str)]| program.method_used(&dir, environment).unwrap();
    let quietly = |method: &str| (method.to_owned(), String::new());
    assert_eq!(used(&[]), quietly("epoll"));
    assert_eq!(used(&[("FERREVENT_METHOD", "select")]), quietly("select"));
    match program.lacks(Method::IoUring, &dir).unwrap() {
        None => assert_eq!(
            used(&[("FERREVENT_METHOD", "io_uring")]),
            quietly("io_uring")
        ),
        // Then it has said why.
        Some(why) => assert_eq!(why.lines().count(), 1, "{why}"),
    }
}

#[test]
fn what_cannot_be_is_said_in_one_line_and_another_method_is_used() {
    let (dir, program) = (workbench::library().unwrap(), program());
    let wish = ("FERREVENT_METHOD", "io_uring");
    let wishes: [(&[(&str, &str)], &str); 4] = [
        (&[("FERREVENT_METHOD", "kqueue")], "epoll"),
        (
            &[("FERREVENT_METHOD", "poll"), ("EVENT_NOPOLL", "1")],
            "epoll",
        ),
        // It works with epoll.
        (&[wish, ("EVENT_NOEPOLL", "1")], "poll"),
        (&[wish, ("EVENT_NOIO_URING", "1")], "epoll"),
    ];
    for (environment, method) in wishes {
        let (used, log) = program.method_used(&dir, environment).unwrap();
        assert_eq!(used, method, "{environment:?}");
        assert!(log.starts_with("[warn] FERREVENT_METHOD: "), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}
