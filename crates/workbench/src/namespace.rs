//! Programs in a network of their own.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{apt_install, run};

/// The loopback, and files in the place of those that say who serves names.
const SCRIPT: &str = r#"
ip link set lo up
[ ! -e /etc/resolv.conf ] || mount --bind "$1" /etc/resolv.conf
mount --bind "$2" /etc/hosts
shift 2
exec "$@"
"#;

/// `command`, to be run where there is nothing but the loopback, every port is free, and these two files are
/// `/etc/resolv.conf` and `/etc/hosts`. (Without a resolv.conf, the name server is the one on this machine.)
///
/// # Errors
/// Why this process cannot have such a place.
pub fn in_own_network(
    command: &Command,
    resolv_conf: &Path,
    hosts: &Path,
) -> Result<Command, String> {
    in_namespace(SCRIPT, &[resolv_conf, hosts], command)
}

/// `command`, to be run by `script` in new namespaces. The script gets `files`, and behind them the command.
pub(crate) fn in_namespace(
    script: &str,
    files: &[&Path],
    command: &Command,
) -> Result<Command, String> {
    apt_install(&["iproute2"]).map_err(|missing| missing.to_string())?;
    let enter = || {
        let mut enter = Command::new("unshare");
        enter.args(["--net", "--mount", "sh", "-ec", script, "sh"]);
        enter.args(files);
        enter
    };
    // To see whether it may.
    let tried = run(enter().arg("true"), Duration::from_secs(30))?;
    if !tried.status.success() {
        let reason = String::from_utf8_lossy(&tried.stderr);
        return Err(format!("no network namespace: {}", reason.trim_end()));
    }
    let mut entered = enter();
    entered.arg(command.get_program()).args(command.get_args());
    let variables = command.get_envs();
    entered.envs(
        variables.filter_map(|(name, value)| Some((OsString::from(name), OsString::from(value?)))),
    );
    Ok(entered)
}
