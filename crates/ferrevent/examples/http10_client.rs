//! Fetches a resource by HTTP/1.0 and writes the answer, headers and all, to standard output.
//!
//! ```text
//! cargo run --example http10_client -- example.org /
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ferrevent::{Base, BufferEvent, Condition, Dirs, Error, Handler, Result};

#[derive(Parser)]
#[command(about = "A trivial HTTP/1.0 client")]
struct Arguments {
    /// Whom to ask
    host: String,

    /// What to ask for
    #[arg(default_value = "/")]
    resource: String,

    /// The server's port
    #[arg(long, default_value_t = 80)]
    port: u16,

    /// Give up when nothing has come for so many seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
}

/// The answer, on its way to standard output.
struct Answer {
    bytes: usize,
}

/// How it ended; kept in the base, since the handler goes with its bufferevent.
struct Outcome(Result<usize>);

impl Handler for Answer {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if let Err(error) = self.print(base, bev) {
            self.end(base, bev, Err(error));
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        match condition {
            Condition::Connected => eprintln!("connected"),
            Condition::Eof { .. } => {
                // What came last may not have been announced.
                let outcome = self.print(base, bev).map(|()| self.bytes);
                self.end(base, bev, outcome);
            }
            Condition::Error { error, .. } => self.end(base, bev, Err(error)),
            other => {
                let error = std::io::Error::other(other.to_string());
                self.end(base, bev, Err(error.into()));
            }
        }
    }
}

impl Answer {
    fn print(&mut self, base: &mut Base, bev: BufferEvent) -> Result<()> {
        let mut input = bev.input(base).ok_or(Error::Stale)?;
        self.bytes += input.len();
        let mut out = std::io::stdout().lock();
        for piece in input.chunks() {
            out.write_all(piece)?;
        }
        out.flush()?;
        input.drain(usize::MAX)?;
        Ok(())
    }

    fn end(&mut self, base: &mut Base, bev: BufferEvent, outcome: Result<usize>) {
        base.insert_state(Outcome(outcome));
        bev.free(base);
    }
}

fn fetch(arguments: &Arguments) -> Result<usize> {
    let Arguments { host, resource, .. } = arguments;
    let mut base = Base::new()?;
    let patience = Some(Duration::from_secs(arguments.timeout));
    let bev = BufferEvent::builder()
        .timeouts(patience, patience)
        .unconnected(&mut base);
    bev.set_handler(&mut base, Answer { bytes: 0 });
    bev.enable(&mut base, Dirs::READ)?;
    // It is sent as soon as the connection stands.
    bev.write(
        &mut base,
        format!("GET {resource} HTTP/1.0\r\nHost: {host}\r\n\r\n"),
    )?;
    bev.connect_host(&mut base, host, arguments.port)?;
    // Ends by itself: when the bufferevent is freed, nothing is left to wait for.
    base.run()?;
    match base.remove_state::<Outcome>() {
        Some(Outcome(outcome)) => outcome,
        None => Err(std::io::Error::other("there was no answer").into()),
    }
}

fn main() -> ExitCode {
    match fetch(&Arguments::parse()) {
        Ok(bytes) => {
            eprintln!("{bytes} bytes");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("http10_client: {error}");
            ExitCode::FAILURE
        }
    }
}
