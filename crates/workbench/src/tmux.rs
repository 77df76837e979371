//! A tmux server with nobody's configuration.

use std::fmt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Folder, run};

/// How long tmux may take for any one thing.
const LIMIT: Duration = Duration::from_secs(60);

/// A tmux server and its sessions. Dropping it ends them.
pub struct Tmux {
    program: Box<dyn Fn() -> Command>,
    folder: Folder,
}

impl Tmux {
    /// Starts a server with one session of 80 columns and 24 lines, in which `sh` runs. `program`
    /// makes a command of the tmux program and whatever comes before it; the server and each of
    /// its clients are one.
    pub fn start(program: impl Fn() -> Command + 'static) -> Result<Self, String> {
        let tmux = Self {
            program: Box::new(program),
            folder: Folder::create()?,
        };
        tmux.ask(&[
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "env",
            "PS1=$ ",
            "sh",
        ])?;
        Ok(tmux)
    }

    /// The process id of the server.
    pub fn pid(&self) -> Result<u32, String> {
        let pid = self.ask(&["display-message", "-p", "#{pid}"])?;
        pid.parse()
            .map_err(|_| format!("tmux: no process id: {pid:?}"))
    }

    /// Runs a client with `args` and returns what it prints.
    pub fn ask(&self, args: &[&str]) -> Result<String, String> {
        let output = run(self.client().args(args), LIMIT)?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("tmux {}: {}", args.join(" "), stderr.trim_end()));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_string())
    }

    /// Types `text` and Enter into the pane `target`.
    pub fn enter(&self, target: &str, text: &str) -> Result<(), String> {
        self.ask(&["send-keys", "-t", target, "-l", text])?;
        self.ask(&["send-keys", "-t", target, "Enter"]).map(drop)
    }

    /// What the pane `target` shows, as soon as it holds `text`.
    pub fn wait_for(&self, target: &str, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let screen = self.ask(&["capture-pane", "-p", "-t", target])?;
            if screen.contains(text) {
                return Ok(screen);
            }
            if Instant::now() > deadline {
                return Err(format!("the screen never showed {text:?}:\n{screen}"));
            }
            // There is nothing to wait on: a screen has no end.
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The command line of a client of this server, for a shell.
    pub fn command_line(&self) -> String {
        let client = self.client();
        let mut words = vec!["env".to_string(), "-u TMUX".to_string()];
        for (name, value) in client.get_envs() {
            if let Some(value) = value {
                words.push(format!("{}='{}'", name.display(), value.display()));
            }
        }
        words.push(format!("'{}'", client.get_program().display()));
        words.extend(client.get_args().map(|arg| format!("'{}'", arg.display())));
        words.join(" ")
    }

    /// Ends the server and all its sessions; fails if it is there afterwards.
    pub fn kill(&self) -> Result<(), String> {
        self.ask(&["kill-server"])?;
        match self.ask(&["list-sessions"]) {
            Ok(sessions) => Err(format!("tmux: the server lives on: {sessions}")),
            Err(_) => Ok(()),
        }
    }

    fn client(&self) -> Command {
        let mut command = (self.program)();
        command
            .args(["-f", "/dev/null", "-S"])
            .arg(self.folder.path().join("socket"));
        command.env_remove("TMUX").env("TERM", "xterm");
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Usually there is no server any more.
        drop(self.ask(&["kill-server"]));
    }
}

impl fmt::Debug for Tmux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tmux")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
