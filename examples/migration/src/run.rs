//! What `main.c` did.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::event::Base;
use crate::{journal, server, session, store};

const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;

/// Runs the board until SIGTERM.
///
/// # Errors
/// When the journal cannot be written, or the system refuses.
pub fn run(path: &Path) -> io::Result<()> {
    let mut base = Base::new()?;
    base.on_signal(SIGTERM, |base, event| {
        event.free(base);
        server::stop(base);
        session::stop(base);
        base.loop_exit(Duration::ZERO);
    })?;
    base.on_signal(SIGHUP, |base, _| journal::line(base, "hup"))?;
    journal::start(&mut base, path)?;
    store::start(&mut base, Rc::new(session::changed));
    let port = server::start(&mut base)?;
    println!("listening on 127.0.0.1:{port}");
    base.run()?;
    store::stop(&mut base);
    journal::stop(&mut base);
    Ok(())
}
