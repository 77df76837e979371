//! `board JOURNAL`: a notice board on a port of its own, until SIGTERM.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(journal), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: board JOURNAL");
        return ExitCode::from(2);
    };
    match board::run::run(journal.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("board: {error}");
            ExitCode::FAILURE
        }
    }
}
