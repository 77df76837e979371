//! One for each connection.

use std::collections::HashSet;
use std::time::Duration;

use crate::event::{Base, BufferEvent, Callbacks, Condition, Dirs, EolStyle, Handler};
use crate::{journal, store};

const MAX_LINE: usize = 512;

#[derive(Default)]
struct Sessions {
    all: HashSet<BufferEvent>,
    watching: HashSet<BufferEvent>,
}

struct Session;

/// Serves a connection, which is the session's from now on.
pub fn start(base: &mut Base, bev: BufferEvent) {
    let mut sessions = base.remove_state::<Sessions>().unwrap_or_default();
    sessions.all.insert(bev);
    base.insert_state(sessions);
    bev.set_watermark(base, Dirs::READ, 0, MAX_LINE);
    bev.set_handler(base, Session);
    if bev.enable(base, Dirs::READ).is_err() {
        end(base, bev);
    }
}

/// Tells the journal, and those who watch.
pub fn changed(base: &mut Base, name: &str, text: Option<&str>) {
    let line = match text {
        Some(text) => format!("changed {name} {text}"),
        None => format!("gone {name}"),
    };
    journal::line(base, &line);
    let watching = base.with_state(|_, sessions: &mut Sessions| sessions.watching.clone());
    for bev in watching.unwrap_or_default() {
        say(base, bev, &line);
    }
}

/// Ends all sessions.
pub fn stop(base: &mut Base) {
    let sessions = base.remove_state::<Sessions>().unwrap_or_default();
    for bev in sessions.all {
        bev.free(base);
    }
}

impl Handler for Session {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        while let Some(line) = bev.read_line(base, EolStyle::Crlf) {
            if !obey(base, bev, &String::from_utf8_lossy(&line)) {
                return;
            }
        }
        if bev.input_len(base) >= Some(MAX_LINE) {
            bye(base, bev, "too long");
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, _: Condition) {
        end(base, bev);
    }
}

/// Whether the session goes on.
fn obey(base: &mut Base, bev: BufferEvent, line: &str) -> bool {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let named = line.contains(' ');
    let (name, text) = match rest.split_once(' ') {
        Some((name, text)) => (name, Some(text)),
        None => (rest, None),
    };
    let answer = match (word, text) {
        ("set", Some(text)) => {
            store::set(base, name, text);
            "ok".to_owned()
        }
        ("get", _) if named => {
            let text = store::get(base, name);
            text.map_or("none".to_owned(), |text| format!("note {text}"))
        }
        ("del", _) if named => found(store::del(base, name)),
        ("expire", Some(milliseconds)) => {
            let delay = milliseconds.parse().map(Duration::from_millis);
            found(delay.is_ok_and(|delay| store::expire(base, name, delay)))
        }
        ("watch", _) => {
            base.with_state(|_, sessions: &mut Sessions| sessions.watching.insert(bev));
            "ok".to_owned()
        }
        ("quit", _) => {
            bye(base, bev, "bye");
            return false;
        }
        _ => "what?".to_owned(),
    };
    say(base, bev, &answer);
    true
}

fn found(found: bool) -> String {
    (if found { "ok" } else { "none" }).to_owned()
}

fn say(base: &mut Base, bev: BufferEvent, text: &str) {
    // One that is gone is told by its own handler.
    let _ = bev.write(base, format!("{text}\n"));
}

/// Says a last line, and ends when that is sent.
fn bye(base: &mut Base, bev: BufferEvent, text: &str) {
    say(base, bev, text);
    base.with_state(|_, sessions: &mut Sessions| sessions.watching.remove(&bev));
    bev.disable(base, Dirs::READ);
    let leaving = Callbacks::new()
        .write(end)
        .event(|base, bev, _| end(base, bev));
    bev.set_handler(base, leaving);
}

fn end(base: &mut Base, bev: BufferEvent) {
    base.with_state(|_, sessions: &mut Sessions| {
        sessions.all.remove(&bev);
        sessions.watching.remove(&bev);
    });
    bev.free(base);
}
