//! The project's own commands: `cargo xtask lib`, `deb`, `test`, `demo`, `bench`, `compat`.

#![forbid(unsafe_code)]

mod bench;
mod compat;
mod deb;
mod demo;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask lib                          build the release library; the last line is its folder
cargo xtask deb [--command FILE] [--out FOLDER]
                                         write Debian packages into target/deb or FOLDER; FILE is
                                         the command ferrevent, if it is not to be built
cargo xtask test [--quick] [ARGS...]     all tests; --quick leaves out the slow ones;
                                         ARGS go to `cargo test`
cargo demo                               show the library at work
cargo xtask bench [--quick] [CELLS...]   echo servers on libevent, ferrevent and bare epoll;
                                         a cell is CONNECTIONSxBYTESxDEPTH: 100x16kx1
cargo xtask bench syscalls               system calls for each message
cargo xtask bench buffer [--quick]       operations on evbuffers: time, instructions, heap
cargo xtask bench base [--quick]         events, timers and idle bufferevents beside libevent
cargo xtask bench programs [--quick] [NAMES...]
                                         memcached, unbound, pgbouncer and transmission as Debian
                                         has built them, on libevent and on ferrevent
cargo xtask compat [--check]             write COMPATIBILITY.md, or fail if it is out of date
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["lib"] => lib(),
        ["deb", rest @ ..] => deb::run(rest),
        ["test", rest @ ..] => test::run(rest),
        ["demo"] => demo::run(),
        ["bench", rest @ ..] => bench::run(rest),
        ["compat"] => compat::write(),
        ["compat", "--check"] => compat::check(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn lib() -> Result<(), String> {
    let dir = ferrevent_workbench::library()?;
    println!("{}", dir.display());
    Ok(())
}
