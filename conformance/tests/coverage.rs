//! Each function of the headers below is called by a case, by its name or through a pointer.
//!
//! Which functions libevent exports, and which header declares them, is in the table that the
//! command `ferrevent` answers from.

// A file or folder that is missing ends the test with its message, wherever it is noticed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ferrevent_conformance::sources;

const TABLE: &str = include_str!("../../crates/cli/abi/symbols.tsv");

/// Headers, and how the names of the files begin whose cases call their functions.
const HEADERS: &[(&str, &str)] = &[
    ("event2/bufferevent_ssl.h", "tls_"),
    ("event2/buffer.h", "buffer_"),
    ("event2/buffer_compat.h", "buffer_"),
    ("event2/event.h", ""),
    ("event2/dns.h", "dns_"),
    ("event2/dns_compat.h", "dns_"),
    ("event2/event_compat.h", ""),
    ("event2/bufferevent.h", "bufferevent_"),
    ("event2/bufferevent_compat.h", "bufferevent_"),
    ("event2/listener.h", "listener_"),
    ("event2/thread.h", "thread_"),
    ("event2/http.h", "http_"),
    ("event2/http_compat.h", "http_"),
    ("event2/rpc.h", "rpc_"),
    ("event2/tag.h", "tag_"),
    ("event2/util.h", "util_"),
];

/// Functions that no case can call, and why not.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn every_function_is_called_by_a_case() {
    let exceptions: BTreeSet<&str> = EXCEPTIONS.iter().map(|(name, _)| *name).collect();
    let mut missing = Vec::new();
    for (header, files) in HEADERS {
        let declared = declared(header);
        assert!(!declared.is_empty(), "{header} declares nothing");
        let called = called(files);
        for name in declared {
            match (called.contains(name), exceptions.contains(name)) {
                (true, true) => missing.push(format!("{name} is called after all")),
                (false, false) => missing.push(format!("{name} of {header} is called nowhere")),
                _ => {}
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The functions of `header` that libevent exports.
fn declared(header: &str) -> BTreeSet<&'static str> {
    let functions = TABLE.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        (fields.nth(2)? == header).then_some(name)
    });
    functions.collect()
}

/// The names in the cases of the files that begin with `files`, and in the headers of their own that they include. A
/// function that is only named is called through a pointer.
fn called(files: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in sources().unwrap() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(files) {
            add_words(&path, &mut names);
        }
    }
    names
}

fn add_words(path: &Path, names: &mut BTreeSet<String>) {
    let text = without_comments(&fs::read_to_string(path).unwrap());
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    names.extend(words.map(str::to_owned));
    for line in text.lines() {
        let included = line
            .strip_prefix("#include \"")
            .and_then(|rest| rest.strip_suffix('"'));
        if let Some(header) = included {
            add_words(&path.with_file_name(header), names);
        }
    }
}

fn without_comments(text: &str) -> String {
    let mut pieces = text.split("/*");
    let mut code = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        code.push_str(piece.split_once("*/").map_or("", |(_, rest)| rest));
    }
    code
}
