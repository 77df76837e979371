//! An HTTP/1.1 server that says what it was asked, and gives bodies back.
//!
//! ```text
//! cargo run --example http_server -- 127.0.0.1:8080
//! curl -d 'some text' http://127.0.0.1:8080/there
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use ferrevent::http::server::{self, Connection, Next, Reply, ReplyBody, Sends};
use ferrevent::http::{Limits, Step};
use ferrevent::{Base, Buffer, BufferEvent, Condition, Dirs, Error, Handler, Listener, Result};

#[derive(Parser)]
#[command(about = "An HTTP/1.1 server that says what it was asked")]
struct Arguments {
    /// Where to listen; port 0 is any free port
    #[arg(default_value = "127.0.0.1:8080")]
    address: SocketAddr,
}

const LIMITS: Limits = Limits {
    head: 64 << 10,
    body: 16 << 20,
};

/// For a client that sends nothing, or does not read.
const PATIENCE: Duration = Duration::from_secs(50);

/// One connection. The rules of HTTP are `connection`'s; here the bytes are moved.
struct Client {
    connection: Connection,
    /// Of the request that is being read.
    body: Buffer,
    /// The client will send nothing more; what it has sent is still to be answered.
    ended: bool,
}

impl Client {
    /// Works on what has come, until there must be more, or an answer must be sent first.
    fn advance(&mut self, base: &mut Base, bev: BufferEvent) -> Result<()> {
        loop {
            let mut input = bev.input(base).ok_or(Error::Stale)?;
            match self.connection.read(&mut *input) {
                Ok(Step::Wait) => return Ok(()),
                // The chunks move from the input to the body; no byte of it is copied.
                Ok(Step::Body(n)) => {
                    self.body.append_from(&mut input, n)?;
                }
                Ok(Step::Discard(n)) => input.drain(n)?,
                Ok(Step::Continue) => {
                    drop(input);
                    bev.write(base, server::CONTINUE)?;
                }
                Ok(Step::Complete) => {
                    drop(input);
                    self.answer(base, bev)?;
                }
                Ok(Step::Head | Step::Interim) => {}
                Err(refusal) => {
                    drop(input);
                    let code = refusal.code();
                    let mut page = server::error_page(code, None)[..].into();
                    self.send(base, bev, code, "text/html", &mut page)?;
                }
            }
        }
    }

    fn answer(&mut self, base: &mut Base, bev: BufferEvent) -> Result<()> {
        let mut text = Buffer::new();
        if let Some(request) = self.connection.request() {
            let (method, target) = (request.method_name(), request.target());
            text.append(&[method, b" ", target, b"\n"].concat())?;
        }
        text.append_buffer(&mut self.body)?;
        self.send(base, bev, 200, "text/plain", &mut text)
    }

    fn send(
        &mut self,
        base: &mut Base,
        bev: BufferEvent,
        code: u16,
        content_type: &str,
        body: &mut Buffer,
    ) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let reply = Reply {
            code,
            body: ReplyBody::Whole(body.len() as u64),
            date: now.unwrap_or_default().as_secs(),
            content_type: Some(content_type.as_bytes()),
            ..Reply::default()
        };
        let fields = [(&b"Server"[..], &b"ferrevent"[..])];
        let mut head = Vec::new();
        let sends = self.connection.reply(&reply, fields.into_iter(), &mut head);
        let Ok(Sends::Body(n)) = sends else {
            // Its fields are good, and nothing was answered before.
            return Err(std::io::Error::other("there can be no answer").into());
        };
        let mut output = bev.output(base).ok_or(Error::Stale)?;
        output.append(&head)?;
        output.append_from(body, n as usize)?;
        Ok(())
    }
}

impl Handler for Client {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if let Err(error) = self.advance(base, bev) {
            eprintln!("{error}");
            bev.free(base);
        }
    }

    /// The output is empty.
    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        if !self.connection.is_replied() {
            return;
        }
        match self.connection.written() {
            Next::Request => {
                // It may be here already.
                self.read(base, bev);
                if self.ended && !self.connection.is_replied() {
                    bev.free(base);
                }
            }
            Next::Close => {
                bev.free_when_drained(base, Some(PATIENCE));
            }
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        if matches!(condition, Condition::Eof { .. }) && self.connection.is_replied() {
            self.ended = true;
        } else {
            bev.free(base);
        }
    }
}

fn serve(arguments: &Arguments) -> Result<()> {
    let mut base = Base::new()?;
    let listener = Listener::bind(&mut base, arguments.address, |base, _, stream, peer| {
        let bev = BufferEvent::builder()
            .timeouts(Some(PATIENCE), Some(PATIENCE))
            .open(base, stream);
        let started = bev.and_then(|bev| {
            let mut connection = Connection::new();
            connection.set_limits(LIMITS);
            let client = Client {
                connection,
                body: Buffer::new(),
                ended: false,
            };
            bev.set_handler(base, client);
            bev.enable(base, Dirs::READ)
        });
        if let Err(error) = started {
            eprintln!("{peer}: {error}");
        }
    })?;
    if let Some(address) = listener.address(&base) {
        println!("listening on {address}");
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
