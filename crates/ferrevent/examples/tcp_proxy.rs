//! Passes TCP connections on to another address, and holds back whichever side is faster.
//!
//! ```text
//! cargo run --example tcp_proxy -- 127.0.0.1:8080 example.org:80
//! ```
//!
//! However fast one side sends and however slowly the other takes, no more than twice the limit is kept in memory for
//! a direction:
//!
//! ```text
//!           input                 output
//!   from ----------> [ ≤ limit ] ---------> [ ≤ 2 × limit ] ---> to
//!                        |                     |
//!         the high mark of reading      at the limit, reading from the other side stops;
//!         limits a single piece         at the low mark of writing (half of it), it goes on
//! ```

use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use clap::Parser;
use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, Listener, Result};

#[derive(Parser)]
#[command(about = "Passes TCP connections on to another address")]
struct Arguments {
    /// Where to listen; port 0 is any free port
    listen: SocketAddr,

    /// Where to connect to, HOST:PORT; a name is looked up once, at the start
    #[arg(value_parser = target)]
    target: SocketAddr,

    /// How many bytes to hold for each direction of a connection
    #[arg(long, default_value_t = 256 << 10, value_name = "BYTES")]
    limit: usize,
}

/// One side of a connection through the proxy.
struct Side {
    other: BufferEvent,
    limit: usize,
    /// This side has sent the end of its stream.
    ended: bool,
    /// That end has been passed on.
    passed_on: bool,
}

impl Handler for Side {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if bev.forward(base, self.other).is_err() {
            bev.free(base);
        } else if self.other.output_len(base) >= Some(self.limit) {
            bev.disable(base, Dirs::READ);
        }
    }

    /// This side has taken most of what was meant for it: the other side may go on.
    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        let Some(other) = self.other.handler::<Self>(base) else {
            return;
        };
        if other.ended {
            self.pass_end_on(base, bev);
        } else if self.other.enable(base, Dirs::READ).is_err() {
            self.close(base, bev);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        match condition {
            Condition::Connected => {}
            Condition::Eof { .. } => {
                self.ended = true;
                let forwarded = bev.forward(base, self.other);
                if forwarded.is_err() || self.other.output_len(base) == Some(0) {
                    self.other_ends(base, bev);
                }
            }
            failure => {
                eprintln!("{failure}");
                self.close(base, bev);
            }
        }
    }
}

impl Side {
    /// Everything from the other side has been written here, and nothing more will come.
    fn pass_end_on(&mut self, base: &mut Base, bev: BufferEvent) {
        if bev.output_len(base) != Some(0) {
            return;
        }
        let ended = bev.shutdown(base, Shutdown::Write);
        if let Some(other) = self.other.handler_mut::<Self>(base) {
            other.passed_on = true;
        }
        if ended.is_err() || self.ended && self.passed_on {
            self.close(base, bev);
        }
    }

    /// This side has ended, and the other one has nothing left to take.
    fn other_ends(&mut self, base: &mut Base, bev: BufferEvent) {
        let ended = self.other.shutdown(base, Shutdown::Write);
        self.passed_on = true;
        let other_is_done = self
            .other
            .handler::<Self>(base)
            .is_none_or(|other| other.ended && other.passed_on);
        if ended.is_err() || other_is_done {
            self.close(base, bev);
        }
    }

    fn close(&mut self, base: &mut Base, bev: BufferEvent) {
        self.other.free(base);
        bev.free(base);
    }
}

fn proxy(arguments: Arguments) -> Result<()> {
    let Arguments {
        listen,
        target,
        limit,
    } = arguments;
    let mut base = Base::new()?;
    let listener = Listener::bind(&mut base, listen, move |base, _, stream, peer| {
        let side = BufferEvent::builder()
            .watermark(Dirs::READ, 0, limit)
            .watermark(Dirs::WRITE, limit / 2, 0);
        let client = match side.clone().open(base, stream) {
            Ok(client) => client,
            Err(error) => {
                eprintln!("{peer}: {error}");
                return;
            }
        };
        let server = side.unconnected(base);
        for (bev, other) in [(client, server), (server, client)] {
            bev.set_handler(
                base,
                Side {
                    other,
                    limit,
                    ended: false,
                    passed_on: false,
                },
            );
        }
        let started = server
            .connect(base, target)
            .and_then(|()| client.enable(base, Dirs::READ))
            .and_then(|()| server.enable(base, Dirs::READ));
        if let Err(error) = started {
            eprintln!("{peer}: {error}");
            client.free(base);
            server.free(base);
        }
    })?;
    if let Some(address) = listener.address(&base) {
        println!("listening on {address}");
    }
    base.run()?;
    Ok(())
}

fn target(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "it has no address".to_owned())
}

fn main() -> ExitCode {
    match proxy(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
