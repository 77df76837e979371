//! A network namespace in which half of a host can be reached.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{apt_install, run};

/// A host in [`in_black_hole`]. Its IPv6 address, which the system's resolver puts first, swallows every packet; its
/// IPv4 address, [`REACHABLE`], is the namespace's own.
pub const HALF_REACHABLE: &str = "half.example";

/// The IPv4 address of [`HALF_REACHABLE`].
pub const REACHABLE: &str = "192.0.2.1";

/// The lines of a hosts file that make [`HALF_REACHABLE`] known.
pub const HOSTS: &str = "2001:db8:2::1 half.example\n192.0.2.1 half.example\n";

/// Two ends of a wire. Packets for the black hole leave by the one end for a neighbour that is not at the other.
const SCRIPT: &str = r#"
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip link add near type veth peer name far
ip link set near up
ip link set far up
ip -6 addr add 2001:db8:1::1/64 dev near nodad
ip -6 route add 2001:db8:2::/48 dev near
ip -6 neigh add 2001:db8:2::1 lladdr 02:00:00:00:00:99 dev near nud permanent
mount --bind "$1" /etc/hosts
shift
exec "$@"
"#;

/// `command`, to be run in a new network namespace where [`HALF_REACHABLE`] is what it says. `hosts` is a file with
/// [`HOSTS`], which stands in for `/etc/hosts` there.
///
/// # Errors
/// Why this process cannot have one.
pub fn in_black_hole(command: &Command, hosts: &Path) -> Result<Command, String> {
    apt_install(&["iproute2"]).map_err(|missing| missing.to_string())?;
    let enter = || {
        let mut enter = Command::new("unshare");
        enter.args(["--net", "--mount", "sh", "-ec", SCRIPT, "sh"]);
        enter.arg(hosts);
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
