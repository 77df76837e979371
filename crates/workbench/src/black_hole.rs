//! A network namespace in which half of a host can be reached.

use std::path::Path;
use std::process::Command;

use crate::namespace::in_namespace;

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
    in_namespace(SCRIPT, &[hosts], command)
}
