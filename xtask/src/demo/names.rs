//! The client that looks names up by itself, with a name server and a page beside it.

use std::fs;

use ferrevent_workbench::{Folder, in_own_network};

use super::{Outcome, Stage, ensure, finish};

const NAME: &str = "www.example.test";
const ADDRESS: &str = "127.0.0.2";
const PAGE: &str = "This page was found by its name.\n";

/// http_by_name.c fetches a page from a host whose name serve_name.c serves, and says what is wrong with a name that
/// does not exist. Both use the ports that are meant for it, in a network of their own.
pub(super) fn http_by_name(stage: &Stage) -> Result<Outcome, String> {
    let folder = Folder::create().map_err(|e| e.to_string())?;
    let (resolv_conf, hosts) = (
        folder.path().join("resolv.conf"),
        folder.path().join("hosts"),
    );
    let written = fs::write(&resolv_conf, "nameserver 127.0.0.1\n")
        .and_then(|()| fs::write(&hosts, "127.0.0.1 localhost\n"));
    written.map_err(|e| format!("writing into {}: {e}", folder.path().display()))?;

    let fetch = |name: &str| {
        let mut command = stage.ferrevent_run(stage.program("serve_name"));
        command.args([NAME, ADDRESS, PAGE]);
        command.arg(stage.program("http_by_name"));
        command.args([name, "/"]);
        in_own_network(&command, &resolv_conf, &hosts)
    };
    let mut found = match fetch(NAME) {
        Ok(command) => command,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let out = finish(&mut found)?;
    print!("{out}");
    ensure(
        out.starts_with("connect success\n") && out.contains(PAGE),
        || "the page is not what was served".into(),
    )?;
    let out = finish(&mut fetch("nowhere.example.test")?)?;
    println!("for a name that does not exist: {}", out.trim_end());
    // EAI_NONAME
    ensure(out.starts_with("DNS error -2: "), || {
        format!("expected DNS error -2, got {out:?}")
    })?;
    Ok(Outcome::Pass)
}
