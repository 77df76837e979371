//! Debian's tmux on our library: its server and every client.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Folder, LIMIT, Outcome, Stage, ensure, finish, installed};

pub(super) fn step(stage: &Stage) -> Result<Outcome, String> {
    let Some(program) = installed("tmux") else {
        return Ok(Outcome::Skipped(
            "not installed (apt-get install tmux)".into(),
        ));
    };
    let tmux = Tmux {
        stage,
        program,
        folder: Folder::create("tmux")?,
    };

    let shell = [
        "new-session",
        "-d",
        "-x",
        "80",
        "-y",
        "24",
        "env",
        "PS1=$ ",
        "sh",
    ];
    finish(&mut tmux.command(&shell))?;
    let pid = tmux.ask(&["display-message", "-p", "#{pid}"])?;
    println!("a new session; the server is process {pid}");
    stage.show_maps(pid.parse().map_err(|_| format!("no process id: {pid:?}"))?)?;

    // What the shell makes of it is not what was typed.
    tmux.ask(&["send-keys", "echo typed $((40 + 2))", "Enter"])?;
    let screen = tmux.wait_for("typed 42")?;
    println!("typed into it, and captured:\n{}", indent(&screen));

    tmux.ask(&["split-window", "-h", "env", "PS1=$ ", "sh"])?;
    tmux.ask(&["resize-pane", "-t", ".0", "-x", "20"])?;
    let panes = tmux.ask(&["list-panes", "-F", "#{pane_width}x#{pane_height}"])?;
    println!("split and resized: {}", panes.replace('\n', ", "));
    let panes: Vec<&str> = panes.lines().collect();
    ensure(panes.len() == 2 && panes[0].starts_with("20x"), || {
        format!("panes: {panes:?}")
    })?;

    tmux.ask(&["kill-server"])?;
    ensure(tmux.ask(&["list-sessions"]).is_err(), || {
        "the server lives on".into()
    })?;
    println!("killed");
    Ok(Outcome::Pass)
}

struct Tmux<'a> {
    stage: &'a Stage,
    program: PathBuf,
    folder: Folder,
}

impl Tmux<'_> {
    /// A client of a server of our own, without anybody's configuration.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.stage.ferrevent_run(&self.program);
        command
            .args(["-f", "/dev/null", "-S"])
            .arg(self.folder.path().join("socket"))
            .args(args);
        command.env_remove("TMUX").env("TERM", "xterm");
        command
    }

    /// What the client prints.
    fn ask(&self, args: &[&str]) -> Result<String, String> {
        let output = ferrevent_workbench::run(&mut self.command(args), LIMIT)?;
        if !output.status.success() {
            return Err(format!(
                "tmux {}: {}",
                args[0],
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_string())
    }

    /// Looks at the screen until it holds `text`.
    fn wait_for(&self, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let screen = self.ask(&["capture-pane", "-p"])?;
            if screen.contains(text) {
                return Ok(screen);
            }
            if Instant::now() > deadline {
                return Err(format!("the screen never showed {text:?}:\n{screen}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        // After a step that failed half-way. Otherwise there is no server any more.
        drop(self.ask(&["kill-server"]));
    }
}

fn indent(screen: &str) -> String {
    screen
        .lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
