//! Sends back whatever it gets, on any number of connections.
//!
//! ```text
//! cargo run --example echo_server -- 127.0.0.1:7777 --idle 60
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, Listener, Method, Result};

#[derive(Parser)]
#[command(about = "Sends back whatever it gets")]
struct Arguments {
    /// Where to listen; port 0 is any free port
    #[arg(default_value = "127.0.0.1:7777")]
    address: SocketAddr,

    /// Close connections that have been silent for so many seconds
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,

    /// Wait with this system call instead of the best: epoll, poll or select
    #[arg(long, value_parser = method)]
    method: Option<Method>,
}

/// A peer that does not read what it gets back is not read from either, from this many bytes on.
const MAX_UNSENT: usize = 1 << 20;

/// What the server has done so far; kept in the base, where every handler can reach it.
#[derive(Default)]
struct Total {
    connections: u64,
    bytes: u64,
}

/// One connection.
struct Echo {
    peer: SocketAddr,
}

impl Handler for Echo {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        // The chunks move from the input to the output; no byte is copied.
        let Ok(bytes) = bev.forward(base, bev) else {
            return;
        };
        if let Some(total) = base.state_mut::<Total>() {
            total.bytes += bytes as u64;
        }
        if bev.output_len(base) > Some(MAX_UNSENT) {
            bev.disable(base, Dirs::READ);
        }
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        if let Err(error) = bev.enable(base, Dirs::READ) {
            eprintln!("{}: {error}", self.peer);
            bev.free(base);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        if !matches!(condition, Condition::Eof { .. }) {
            eprintln!("{}: {condition}", self.peer);
        }
        // After the end of the stream there may be something left to send back.
        if matches!(condition, Condition::Eof { .. }) && bev.output_len(base) > Some(0) {
            bev.set_handler(base, LastWords);
        } else {
            bev.free(base);
        }
    }
}

/// A connection whose peer has said all that it had to say.
struct LastWords;

impl Handler for LastWords {
    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        bev.free(base);
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, _: Condition) {
        bev.free(base);
    }
}

fn serve(arguments: &Arguments) -> Result<()> {
    let mut builder = Base::builder();
    if let Some(method) = arguments.method {
        builder = builder.method(method);
    }
    let mut base = builder.build()?;
    base.insert_state(Total::default());

    let idle = arguments.idle.map(Duration::from_secs);
    let listener = Listener::bind(
        &mut base,
        arguments.address,
        move |base, _, stream, peer| {
            let bev = BufferEvent::builder()
                .timeouts(idle, idle)
                .open(base, stream);
            let started = bev.and_then(|bev| {
                bev.set_handler(base, Echo { peer });
                bev.enable(base, Dirs::READ)
            });
            match (started, base.state_mut::<Total>()) {
                (Ok(()), Some(total)) => total.connections += 1,
                (Err(error), _) => eprintln!("{peer}: {error}"),
                _ => {}
            }
        },
    )?;
    if let Some(address) = listener.address(&base) {
        println!("listening on {address} with {}", base.method());
    }
    for signal in [SIGINT, SIGTERM] {
        base.on_signal(signal, |base, _| base.loop_break())?;
    }
    base.run()?;

    if let Some(total) = base.state::<Total>() {
        println!("{} connections, {} bytes", total.connections, total.bytes);
    }
    Ok(())
}

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

fn method(name: &str) -> Result<Method, String> {
    Method::named(name).ok_or_else(|| "it is epoll, poll, select or io_uring".to_owned())
}

fn main() -> ExitCode {
    match serve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }
    }
}
