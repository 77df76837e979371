//! An echo server whose connections are compressed, and a client of it, in one loop: a [`Stage`] of zlib on both sides.
//!
//! ```text
//! cargo run -p ferrevent --example zlib_echo -- hello world
//! ```

use std::io;

use ferrevent::{
    Base, Buffer, BufferEvent, Condition, Dirs, Handler, Listener, Mode, Progress, Stage,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The most compressed bytes that are unpacked at a time: zlib makes up to a thousand out of each.
const PIECE: usize = 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut base = Base::new()?;
    let anywhere = "127.0.0.1:0".parse()?;
    let listener = Listener::bind(&mut base, anywhere, |base, _, stream, peer| {
        if let Err(error) = serve(base, stream) {
            eprintln!("{peer}: {error}");
        }
    })?;
    let address = listener.address(&base).ok_or("it does not listen")?;

    let socket = BufferEvent::unconnected(&mut base);
    socket.connect(&mut base, address)?;
    let bev = BufferEvent::over(&mut base, socket, Zlib::new())?;
    bev.set_handler(&mut base, Asking);
    bev.enable(&mut base, Dirs::READ)?;
    bev.write(&mut base, text.as_bytes())?;
    bev.finish(&mut base, None);
    base.run()?;
    Ok(())
}

fn serve(base: &mut Base, stream: std::net::TcpStream) -> ferrevent::Result<()> {
    let socket = BufferEvent::new(base, stream)?;
    let bev = BufferEvent::over(base, socket, Zlib::new())?;
    bev.set_handler(base, Echo);
    bev.enable(base, Dirs::READ)
}

/// One zlib stream each way. What is written leaves at once, as it suits a conversation.
struct Zlib {
    packer: Compress,
    unpacker: Decompress,
    /// The end of the own stream has been made, that of the other one has come.
    ended: [bool; 2],
}

impl Zlib {
    fn new() -> Self {
        Self {
            packer: Compress::new(Compression::default(), true),
            unpacker: Decompress::new(true),
            ended: [false; 2],
        }
    }
}

impl Stage for Zlib {
    fn inbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        let mut piece = [0; PIECE];
        let n = from.remove(&mut piece[..limit.min(PIECE)])?;
        let start = self.unpacker.total_in();
        let mut made = Vec::with_capacity(4 * PIECE);
        while !self.ended[1] {
            let taken = (self.unpacker.total_in() - start) as usize;
            let rest = &piece[taken..n];
            let status = self
                .unpacker
                .decompress_vec(rest, &mut made, FlushDecompress::None)?;
            self.ended[1] = status == Status::StreamEnd;
            if made.len() < made.capacity() {
                break;
            }
            made.reserve(made.len());
        }
        to.append(&made)?;
        if mode == Mode::Finished && from.is_empty() && !self.ended[1] {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(progress(n > 0))
    }

    fn outbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        let mut piece = vec![0; from.len().min(limit)];
        let n = from.remove(&mut piece)?;
        let last = mode == Mode::Finished && from.is_empty();
        if self.ended[0] || n == 0 && !last {
            return Ok(Progress::NeedMore);
        }
        let flush = match last {
            true => FlushCompress::Finish,
            false => FlushCompress::Sync,
        };
        let start = self.packer.total_in();
        let mut made = Vec::with_capacity(n + 64);
        loop {
            let taken = (self.packer.total_in() - start) as usize;
            let status = self
                .packer
                .compress_vec(&piece[taken..n], &mut made, flush)?;
            self.ended[0] = status == Status::StreamEnd;
            if self.ended[0] || made.len() < made.capacity() {
                break;
            }
            made.reserve(made.len());
        }
        to.append(&made)?;
        Ok(Progress::Made)
    }
}

fn progress(made: bool) -> Progress {
    match made {
        true => Progress::Made,
        false => Progress::NeedMore,
    }
}

/// Sends back whatever comes, and ends when the other side has.
struct Echo;

impl Handler for Echo {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if bev.forward(base, bev).is_err() {
            bev.free(base);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        let ended = matches!(condition, Condition::Eof { dirs } if dirs.contains(Dirs::READ));
        if !ended || !bev.finish(base, None) {
            bev.free(base);
        }
    }
}

/// Prints the answer once it is complete.
struct Asking;

impl Handler for Asking {
    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        match condition {
            Condition::Connected => return,
            // Everything is written; the answer is on its way.
            Condition::Eof { dirs } if !dirs.contains(Dirs::READ) => return,
            Condition::Eof { .. } => {
                let mut answer = vec![0; bev.input_len(base).unwrap_or(0)];
                let n = bev.read(base, &mut answer);
                println!("{}", String::from_utf8_lossy(&answer[..n]));
            }
            other => eprintln!("{other}"),
        }
        bev.free(base);
        base.loop_break();
    }
}
