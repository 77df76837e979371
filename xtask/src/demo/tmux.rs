//! Debian's tmux on our library: its server and every client.

use std::process::Command;

use ferrevent_workbench::{LIB_DIR_VARIABLE, Tmux};

use super::{Outcome, Stage, ensure, installed};

pub(super) fn step(stage: &Stage) -> Result<Outcome, String> {
    let Some(program) = installed("tmux") else {
        return Ok(Outcome::Skipped(
            "not installed (apt-get install tmux)".into(),
        ));
    };
    let (ferrevent, library) = (stage.command.clone(), stage.library.clone());
    let tmux = Tmux::start(move || {
        let mut command = Command::new(&ferrevent);
        command
            .args(["run", "--"])
            .arg(&program)
            .env(LIB_DIR_VARIABLE, &library);
        command
    })?;
    let pid = tmux.pid()?;
    println!("a new session; the server is process {pid}");
    stage.show_maps(pid)?;

    // What the shell makes of it is not what was typed.
    tmux.enter("", "echo typed $((40 + 2))")?;
    let screen = tmux.wait_for("", "typed 42")?;
    println!("typed into it, and captured:");
    for line in screen.lines() {
        println!("    {line}");
    }

    tmux.ask(&["split-window", "-h", "env", "PS1=$ ", "sh"])?;
    tmux.ask(&["resize-pane", "-t", ".0", "-x", "20"])?;
    let panes = tmux.ask(&["list-panes", "-F", "#{pane_width}x#{pane_height}"])?;
    println!("split and resized: {}", panes.replace('\n', ", "));
    ensure(panes == "20x24\n59x24", || format!("panes: {panes:?}"))?;

    tmux.kill()?;
    println!("killed");
    Ok(Outcome::Pass)
}
