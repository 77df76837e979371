//! A chat room for telnet or netcat: what one says, all others hear.
//!
//! ```text
//! cargo run --example chat_server -- 127.0.0.1:7000 &
//! nc 127.0.0.1 7000
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use ferrevent::{Base, BufferEvent, Condition, Dirs, EolStyle, Handler, Listener, Result};

#[derive(Parser)]
#[command(about = "A chat room for telnet or netcat")]
struct Arguments {
    /// Where to listen; port 0 is any free port
    #[arg(default_value = "127.0.0.1:7000")]
    address: SocketAddr,

    /// The longest line that a member may say, in bytes
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    max_line: usize,
}

/// Who does not take what is said for so many bytes is shown the door.
const MAX_UNHEARD: usize = 1 << 20;

/// Everybody, by name. Kept in the base, where every member's handler can reach it.
#[derive(Default)]
struct Room {
    members: BTreeMap<String, BufferEvent>,
    came: u64,
}

/// One connection.
struct Member {
    name: String,
    max_line: usize,
}

impl Handler for Member {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        while let Some(line) = bev.read_line(base, EolStyle::Crlf) {
            let line = String::from_utf8_lossy(&line).into_owned();
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("/quit", _) => return self.leave(base, bev, "has left"),
                ("/who", _) => self.tell_members(base, bev),
                ("/name", name) => self.rename(base, bev, name.trim()),
                _ => broadcast(base, Some(bev), &format!("{}: {line}", self.name)),
            }
        }
        if bev.input_len(base) >= Some(self.max_line) {
            self.leave(base, bev, "has said too much at once");
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        let how = match condition {
            Condition::Eof { .. } => "has left".to_owned(),
            other => format!("is lost ({other})"),
        };
        self.leave(base, bev, &how);
    }
}

impl Member {
    fn enter(base: &mut Base, bev: BufferEvent, max_line: usize) -> Result<()> {
        let room = base.state_mut::<Room>().expect("inserted by main");
        room.came += 1;
        let name = format!("guest{}", room.came);
        room.members.insert(name.clone(), bev);
        bev.write(base, format!("* you are {name}; /name NAME, /who, /quit\n"))?;
        broadcast(base, Some(bev), &format!("* {name} has come"));
        bev.set_handler(base, Self { name, max_line });
        bev.enable(base, Dirs::READ)
    }

    fn rename(&mut self, base: &mut Base, bev: BufferEvent, name: &str) {
        let room = base.state_mut::<Room>().expect("inserted by main");
        if name.is_empty() || room.members.contains_key(name) {
            say(base, bev, "* that name is taken");
            return;
        }
        room.members.remove(&self.name);
        room.members.insert(name.to_owned(), bev);
        let former = std::mem::replace(&mut self.name, name.to_owned());
        broadcast(base, None, &format!("* {former} is {name} now"));
    }

    fn tell_members(&self, base: &mut Base, bev: BufferEvent) {
        let room = base.state::<Room>().expect("inserted by main");
        let names: Vec<&str> = room.members.keys().map(String::as_str).collect();
        let names = names.join(", ");
        say(base, bev, &format!("* here: {names}"));
    }

    fn leave(&mut self, base: &mut Base, bev: BufferEvent, how: &str) {
        bev.free(base);
        if let Some(room) = base.state_mut::<Room>() {
            room.members.remove(&self.name);
        }
        broadcast(base, None, &format!("* {} {how}", self.name));
    }
}

/// Says a line to everybody but `except`.
fn broadcast(base: &mut Base, except: Option<BufferEvent>, line: &str) {
    let room = base.state::<Room>().expect("inserted by main");
    let hearers: Vec<BufferEvent> = room
        .members
        .values()
        .copied()
        .filter(|&member| Some(member) != except)
        .collect();
    for hearer in hearers {
        say(base, hearer, line);
    }
}

/// Says a line to one member. Who cannot be told any more is told of in due course by his own handler.
fn say(base: &mut Base, bev: BufferEvent, line: &str) {
    let told = bev.write(base, format!("{line}\n"));
    if told.is_err() || bev.output_len(base) > Some(MAX_UNHEARD) {
        let error = std::io::Error::other("does not listen").into();
        let dirs = Dirs::WRITE;
        bev.trigger_event(base, Condition::Error { dirs, error });
    }
}

fn serve(arguments: &Arguments) -> Result<()> {
    let mut base = Base::new()?;
    base.insert_state(Room::default());
    let max_line = arguments.max_line;
    let listener = Listener::bind(
        &mut base,
        arguments.address,
        move |base, _, stream, peer| {
            // Nobody can make us hold more than this of what has no line end.
            let builder = BufferEvent::builder().watermark(Dirs::READ, 0, max_line);
            let entered = builder
                .open(base, stream)
                .and_then(|bev| Member::enter(base, bev, max_line));
            if let Err(error) = entered {
                eprintln!("{peer}: {error}");
            }
        },
    )?;
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
            eprintln!("chat_server: {error}");
            ExitCode::FAILURE
        }
    }
}
