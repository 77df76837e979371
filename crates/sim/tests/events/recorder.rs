//! A driver that remembers what it was told, and haunts: a closed descriptor may go on to be reported, as under epoll
//! when its file lives on in another process.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Readiness, Ready, Token};

#[derive(Debug, Default)]
pub(crate) struct Record {
    /// What the kernel watches, as far as it goes by what it was told.
    pub(crate) watched: BTreeMap<Fd, (Token, Interest)>,
    /// Registrations that nobody can remove.
    pub(crate) ghosts: Vec<Token>,
    pub(crate) resets: usize,
}

impl Record {
    /// A descriptor is closed; `lives_on` elsewhere.
    pub(crate) fn closed(&mut self, fd: Fd, lives_on: bool) {
        if let Some((token, _)) = self.watched.remove(&fd)
            && lives_on
        {
            self.ghosts.push(token);
        }
    }

    pub(crate) fn is_current(&self, token: Token) -> bool {
        self.watched
            .get(&token.fd)
            .is_some_and(|(t, _)| *t == token)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Record>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().expect("one thread only")
    }
}

pub(crate) struct Recorder {
    pub(crate) inner: Box<dyn Driver>,
    pub(crate) record: Shared,
    /// Whether it makes the changes of a pass together.
    pub(crate) puts_off: bool,
    /// What it has put off, until it is settled: what to watch for, or nothing any more.
    pub(crate) later: Option<Vec<(Fd, Option<(Token, Interest)>)>>,
}

impl Driver for Recorder {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn features(&self) -> Features {
        self.inner.features()
    }

    fn now(&self) -> u64 {
        self.inner.now()
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.register(token, interest)?;
        let mut record = self.record.lock();
        record.watched.insert(token.fd, (token, interest));
        Ok(())
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        if let Some(later) = &mut self.later {
            later.push((token.fd, Some((token, interest))));
            return Ok(());
        }
        self.inner.reregister(token, interest)?;
        let mut record = self.record.lock();
        record.watched.insert(token.fd, (token, interest));
        Ok(())
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        if let Some(later) = &mut self.later {
            later.push((fd, None));
            return Ok(());
        }
        self.inner.deregister(fd)?;
        self.record.lock().watched.remove(&fd);
        Ok(())
    }

    fn put_off(&mut self, _changes: usize) -> bool {
        self.later = self.puts_off.then(Vec::new);
        self.puts_off
    }

    fn settle(&mut self, refused: &mut Vec<(Fd, io::Error)>) {
        for (fd, change) in self.later.take().unwrap_or_default() {
            let result = match change {
                Some((token, interest)) => self.reregister(token, interest),
                None => self.deregister(fd),
            };
            refused.extend(result.err().map(|error| (fd, error)));
        }
    }

    fn closing(&mut self, fd: Fd) {
        self.inner.closing(fd);
    }

    fn reset(&mut self) -> io::Result<()> {
        let mut record = self.record.lock();
        record.watched.clear();
        record.ghosts.clear();
        record.resets += 1;
        self.inner.reset()
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let ghosts = self.record.lock().ghosts.clone();
        let timeout = match ghosts.is_empty() {
            true => timeout,
            false => Some(Duration::ZERO),
        };
        self.inner.wait(timeout, ready)?;
        let readiness = Readiness::READ | Readiness::WRITE;
        ready.extend(ghosts.iter().map(|&token| Ready { token, readiness }));
        Ok(())
    }
}
