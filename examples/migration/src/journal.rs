//! What has changed, written to a file now and then.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::event::{Base, Buffer, Event, OwnedBuffer};

/// How long a line may wait for others.
const SOON: Duration = Duration::from_millis(20);

struct Journal {
    file: File,
    lines: OwnedBuffer,
    flush: Option<Event>,
}

/// Opens the journal.
///
/// # Errors
/// When it cannot be written.
pub fn start(base: &mut Base, path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    base.insert_state(Journal {
        file,
        lines: Buffer::new(),
        flush: None,
    });
    Ok(())
}

/// Adds a line.
pub fn line(base: &mut Base, text: &str) {
    base.with_state(|base, journal: &mut Journal| {
        // There is nobody who could be told that memory is short.
        let _ = journal.lines.append(format!("{text}\n").as_bytes());
        if journal.flush.is_none() {
            journal.flush = Some(base.after(SOON, flush));
        }
    });
}

/// Writes what is left, and closes the journal.
pub fn stop(base: &mut Base) {
    line(base, "end");
    flush(base);
    base.remove_state::<Journal>();
}

fn flush(base: &mut Base) {
    base.with_state(|base, journal: &mut Journal| {
        if let Some(event) = journal.flush.take() {
            event.free(base);
        }
        let bytes = journal.lines.pullup(None).unwrap_or_default();
        if let Err(error) = journal.file.write_all(bytes) {
            eprintln!("board: the journal: {error}");
        }
        // The front of a buffer of one's own is never frozen.
        let _ = journal.lines.drain(usize::MAX);
    });
}
