//! The command `ferrevent`: runs programs that were made for libevent 2.1 on ferrevent's library,
//! says beforehand whether everything they need is there, and which library a system runs on.

#![forbid(unsafe_code)]

mod check;
mod elf;
mod library;
mod loader;
mod needs;
mod processes;
mod run;
mod status;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs libevent programs on ferrevent.
#[derive(Debug, Parser)]
#[command(name = "ferrevent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run a program on ferrevent's library
    ///
    /// The program replaces this command: process id, terminal, signals and exit status are its
    /// own. Programs that it starts run on the library too. The folder with the library is the one
    /// that FERREVENT_LIB_DIR names, or else is found beside this command.
    #[command(override_usage = "ferrevent run -- PROGRAM [ARGS]...")]
    Run {
        /// A program that links libevent 2.1, looked up in PATH unless it holds a slash
        #[arg(value_name = "PROGRAM")]
        program: OsString,
        /// Its arguments
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<OsString>,
    },
    /// Say which functions of libevent a program or library needs, and whether they are there
    ///
    /// The exit status is 0 if all are there, 1 if one is missing, and 2 if a file could not be
    /// checked, for example because it does not use libevent 2.1.
    Check {
        /// Programs (looked up in PATH unless they hold a slash) or shared libraries
        #[arg(required = true, value_name = "PROGRAM|LIBRARY")]
        files: Vec<PathBuf>,
    },
    /// Say which libevent programs load on this system, and which one running processes have
    ///
    /// Of the processes, those are looked into that you may look into: root sees all. The exit
    /// status is 0 if none of them has to be restarted to get what it would load now, 1 if one has,
    /// and 2 if that could not be found out.
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What this command returns when it cannot do what it was asked for.
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Run { program, args } => run::run(&program, &args).map(|never| match never {}),
        Task::Check { files } => check::check(&files),
        Task::Status { json } => status::status(json),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("ferrevent: {message}");
        ExitCode::from(TROUBLE)
    })
}

/// Writes `text` to the standard output. A reader that has seen enough, as `head` does, is no fault.
fn answer(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {e}")),
        _ => Ok(()),
    }
}
