//! An HTTP/1.1 server that says what it was asked, and gives bodies back. SIGINT and SIGTERM end it, once all that was
//! asked is answered.
//!
//! ```text
//! cargo run --example http_server -- 127.0.0.1:8080
//! curl -d 'some text' http://127.0.0.1:8080/there
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ferrevent::http::{Reply, Request, Server};
use ferrevent::{Base, Error, Result};

#[derive(Parser)]
#[command(about = "An HTTP/1.1 server that says what it was asked")]
struct Arguments {
    /// Where to listen; port 0 is any free port
    #[arg(default_value = "127.0.0.1:8080")]
    address: SocketAddr,
}

/// For requests that are not answered yet when the server is to end.
const PATIENCE: Duration = Duration::from_secs(10);

const SIGNALS: [i32; 2] = [2, 15];

fn answer(base: &mut Base, request: Request) -> Result<()> {
    let head = request.head(base).ok_or(Error::Stale)?;
    let line = [head.method_name(), b" ", head.target(), b"\n"].concat();
    // The body moves from the request to the answer; no byte of it is copied.
    let mut text = request.take_body(base).ok_or(Error::Stale)?;
    text.prepend(&line)?;
    let reply = Reply::new(200)
        .field("Server", "ferrevent")
        .field("Content-Type", "text/plain")
        .body_buffer(text);
    request.reply(base, reply)
}

fn serve(arguments: &Arguments) -> Result<()> {
    let mut base = Base::new()?;
    let server = Server::new(&mut base, |base, request| {
        if let Err(error) = answer(base, request) {
            eprintln!("{error}");
        }
    });
    let listener = server.bind(&mut base, arguments.address)?;
    if let Some(address) = listener.address(&base) {
        println!("listening on {address}");
    }
    for signal in SIGNALS {
        base.on_signal(signal, move |base, _| {
            server.shut_down(base, Some(PATIENCE), Base::loop_break);
        })?;
    }
    base.run()?;
    Ok(())
}

fn main() -> ExitCode {
    match serve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_server: {error}");
            ExitCode::FAILURE
        }
    }
}
