//! Debian packages that the tests and the demonstration need.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::process;

/// Packages that are not installed, and that could not be.
#[derive(Debug)]
pub struct Missing {
    /// Their exact Debian names.
    pub packages: Vec<String>,
    /// Why they were not installed.
    pub reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages = self.packages.join(" ");
        write!(
            f,
            "missing: {packages} ({}): apt-get install {packages}",
            self.reason
        )
    }
}

impl std::error::Error for Missing {}

/// Sees to it that the Debian `packages` are installed: installs those that are missing when this
/// process is root and `apt-get` is there, and names them otherwise. Services among them are not
/// started.
pub fn apt_install(packages: &[&str]) -> Result<(), Missing> {
    let missing = not_installed(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let failed = |packages: Vec<&str>, reason: &str| Missing {
        packages: packages.into_iter().map(String::from).collect(),
        reason: reason.into(),
    };
    if !rustix::process::geteuid().is_root() {
        return Err(failed(missing, "not root"));
    }
    let _policy = match NoServices::demand(Path::new(POLICY)) {
        Ok(policy) => policy,
        Err(e) => return Err(failed(missing, &format!("{POLICY}: {e}"))),
    };
    refresh_lists();
    let options = ["install", "-y", "--no-install-recommends"];
    let outcome = apt_get(options.iter().chain(&missing).copied());
    let still = not_installed(packages);
    match outcome {
        _ if still.is_empty() => Ok(()),
        Ok(()) => Err(failed(still, "apt-get did not install them")),
        Err(reason) => Err(failed(still, &reason)),
    }
}

/// Brings the package lists up to date, once. Old ones name files that are gone, or packages without
/// their security updates.
fn refresh_lists() {
    static REFRESHED: Once = Once::new();
    REFRESHED.call_once(|| {
        // Without a network the lists that are there may do; the installation says what is wrong.
        if let Err(reason) = apt_get(["update"].into_iter()) {
            eprintln!("the package lists were not refreshed: {reason}");
        }
    });
}

fn not_installed<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect()
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f=${db:Status-Status}\n", package]);
    // On a system without dpkg nothing is known to be installed.
    process::run(&mut query, Duration::from_secs(30)).is_ok_and(|output| {
        output.status.success()
            && output
                .stdout
                .split(|b| *b == b'\n')
                .any(|l| l == b"installed")
    })
}

fn apt_get<'a>(args: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    // Another process may be installing something.
    command.args(["-o", "DPkg::Lock::Timeout=300"]);
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    let output = process::run(&mut command, Duration::from_secs(600))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "apt-get: {}",
        stderr.lines().last().unwrap_or("failed")
    ))
}

/// The program that Debian's tools ask before they start a service of a package.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The status 101 says: forbidden.
const FORBID: &[u8] = b"#!/bin/sh\nexit 101\n";

/// While it lives, packages that are installed do not start their services. Where the administrator
/// has put a policy, that decides.
#[derive(Debug)]
struct NoServices {
    ours: Option<PathBuf>,
    /// Held by one at a time, so that none takes its policy away while another one installs.
    _turn: File,
}

impl NoServices {
    fn demand(policy: &Path) -> io::Result<Self> {
        let folder = policy.parent().unwrap_or(Path::new("/"));
        let turn = File::open(folder)?;
        flock(&turn, FlockOperation::LockExclusive)?;
        let mut file = match File::create_new(policy) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(Self {
                    ours: None,
                    _turn: turn,
                });
            }
            Err(e) => return Err(e),
        };
        let guard = Self {
            ours: Some(policy.to_path_buf()),
            _turn: turn,
        };
        file.write_all(FORBID)?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let Some(path) = &self.ours else {
            return;
        };
        if let Err(e) = fs::remove_file(path) {
            eprintln!("{}: {e}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that fails by unwrap says where it failed"
    )]

    use super::*;
    use crate::Folder;

    #[test]
    fn no_service_starts_in_the_meantime() {
        let folder = Folder::create().unwrap();
        let policy = folder.path().join("policy");
        let guard = NoServices::demand(&policy).unwrap();
        let answer = process::run(&mut Command::new(&policy), Duration::from_secs(30));
        assert_eq!(answer.unwrap().status.code(), Some(101));
        drop(guard);
        assert!(!policy.exists());
    }

    #[test]
    fn the_policy_of_the_administrator_stays() {
        let folder = Folder::create().unwrap();
        let policy = folder.path().join("policy");
        fs::write(&policy, "theirs").unwrap();
        drop(NoServices::demand(&policy).unwrap());
        assert_eq!(fs::read(&policy).unwrap(), b"theirs");
    }
}
