//! Programs under a time limit, and servers that do not outlive their test.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Runs `command` to its end with an empty standard input and returns all that it wrote.
///
/// Past `limit`, its whole process group is killed and what it had written is in the error.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output, String> {
    run_with_input(command, Vec::new(), limit)
}

/// [`run`] with `input` as the standard input.
pub fn run_with_input(
    command: &mut Command,
    input: Vec<u8>,
    limit: Duration,
) -> Result<Output, String> {
    let deadline = Instant::now() + limit;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut group = Group::spawn(command.stdin(Stdio::piped()))?;
    if let Some(mut stdin) = group.child.stdin.take() {
        // A program may end without reading its input: then the rest of it is of no use.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let mut pipes = [
        Pipe::new(group.child.stdout.take()),
        Pipe::new(group.child.stderr.take()),
    ];
    let finished = group
        .drain(&mut pipes, deadline)
        .and_then(|done| done.then(|| group.child.wait()).transpose())
        .map_err(|e| format!("{name}: {e}"))?;
    let [stdout, stderr] = pipes.map(|pipe| pipe.bytes);
    match finished {
        Some(status) => Ok(Output {
            status,
            stdout,
            stderr,
        }),
        None => Err(format!(
            "{name}: not finished after {limit:?}, killed\n--- stdout\n{}\n--- stderr\n{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )),
    }
}

/// A program that runs beside the caller. Dropping it kills its process group.
#[derive(Debug)]
pub struct Server {
    group: Group,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `command` in a process group of its own, with an empty standard input.
    pub fn start(command: &mut Command) -> Result<Self, String> {
        let mut group = Group::spawn(command.stdin(Stdio::null()))?;
        let (sender, lines) = channel();
        if let Some(stdout) = group.child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(pipe) = group.child.stderr.take() {
            let stderr = Arc::clone(&stderr);
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut text = stderr.lock().unwrap_or_else(PoisonError::into_inner);
                    text.push_str(&line);
                    text.push('\n');
                }
            });
        }
        Ok(Self {
            group,
            lines,
            stderr,
        })
    }

    /// The process id of the program itself.
    pub fn pid(&self) -> u32 {
        self.group.child.id()
    }

    /// What it wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until it has written `text` to its standard error, within `limit`. Fails as soon as
    /// it ends without having done so.
    pub fn wait_for_stderr(&mut self, text: &str, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            if self.stderr().contains(text) {
                return Ok(());
            }
            if let Ok(status) = self.wait(Duration::from_millis(20)) {
                return Err(format!("{status}; its stderr:\n{}", self.stderr()));
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "no {text:?} within {limit:?}; its stderr:\n{}",
                    self.stderr()
                ));
            }
        }
    }

    /// The next line of its standard output, without the line end, within `limit`.
    pub fn line(&self, limit: Duration) -> Result<String, String> {
        self.lines.recv_timeout(limit).map_err(|e| match e {
            RecvTimeoutError::Timeout => {
                format!("no line within {limit:?}; its stderr:\n{}", self.stderr())
            }
            RecvTimeoutError::Disconnected => {
                format!("closed its standard output; its stderr:\n{}", self.stderr())
            }
        })
    }

    /// Sends `signal` to its process group.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process_group(self.group.leader(), signal).map_err(|e| format!("kill: {e}"))
    }

    /// Waits until it ends by itself, within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        match self.group.drain(&mut [], Instant::now() + limit) {
            Ok(true) => self.group.child.wait().map_err(|e| format!("wait: {e}")),
            Ok(false) => Err(format!("still running after {limit:?}")),
            Err(e) => Err(format!("wait: {e}")),
        }
    }
}

/// A child and everything that it starts without leaving its process group.
#[derive(Debug)]
struct Group {
    child: Child,
    pidfd: OwnedFd,
}

impl Group {
    fn spawn(command: &mut Command) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{name}: pidfd_open: {e}"))
            }
        }
    }

    fn leader(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Reads `pipes` to their ends and waits for the child to end, without reaping it. False when
    /// the deadline came first.
    fn drain(&self, pipes: &mut [Pipe], deadline: Instant) -> io::Result<bool> {
        let mut running = true;
        while running || pipes.iter().any(|pipe| pipe.file.is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut open: Vec<&mut Pipe> = pipes
                .iter_mut()
                .filter(|pipe| pipe.file.is_some())
                .collect();
            let mut fds: Vec<PollFd<'_>> = open
                .iter()
                .filter_map(|pipe| pipe.file.as_ref())
                .map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN))
                .collect();
            if running {
                fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
            }
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if running && ready.last() == Some(&true) {
                running = false;
            }
            for (pipe, ready) in open.iter_mut().zip(&ready) {
                if *ready {
                    pipe.read()?;
                }
            }
        }
        Ok(true)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Fails when everything in the group has ended, which is what it is for. The leader is not
        // reaped before, or it was and its group is empty or still ours: no other group is hit
        // unless its number was given away again in between.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.leader(), Signal::KILL);
            let _ = self.child.wait();
        } else if rustix::process::test_kill_process_group(self.leader()).is_ok() {
            let _ = kill_process_group(self.leader(), Signal::KILL);
        }
    }
}

/// One output pipe of a child, and what came out of it.
struct Pipe {
    file: Option<File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Self {
        Self {
            file: pipe.map(|pipe| File::from(pipe.into())),
            bytes: Vec::new(),
        }
    }

    /// Takes what is there, once: the caller has polled.
    fn read(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut chunk = [0; 64 * 1024];
        match file.read(&mut chunk) {
            Ok(0) => self.file = None,
            Ok(n) => self.bytes.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}
