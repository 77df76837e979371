//! Debian packages that the tests and the demonstration need.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    // One at a time, also when several tests need something at the same time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    let _policy = match NoServices::new() {
        Ok(policy) => policy,
        Err(e) => return Err(failed(missing, &e)),
    };
    // The package lists may be absent or too old to fetch from: refresh them and try once more.
    let install = |missing: &[&str]| {
        let options = ["install", "-y", "--no-install-recommends"];
        apt_get(options.iter().chain(missing).copied())
    };
    let outcome = install(&missing)
        .or_else(|_| apt_get(["update"].into_iter()).and_then(|()| install(&missing)));
    let still = not_installed(packages);
    match outcome {
        _ if still.is_empty() => Ok(()),
        Ok(()) => Err(failed(still, "apt-get did not install them")),
        Err(reason) => Err(failed(still, &reason)),
    }
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

/// While it lives, packages that are installed do not start their services: Debian's tools ask a
/// program of the administrator before they start one. Where there is such a program, it decides.
#[derive(Debug)]
struct NoServices(Option<PathBuf>);

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    /// The status 101 says: forbidden.
    const SCRIPT: &[u8] = b"#!/bin/sh\nexit 101\n";

    fn new() -> Result<Self, String> {
        let path = PathBuf::from(Self::POLICY);
        let fault = |e: io::Error| format!("{}: {e}", Self::POLICY);
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Self(None)),
            Err(e) => return Err(fault(e)),
        };
        let policy = Self(Some(path));
        file.write_all(Self::SCRIPT).map_err(fault)?;
        file.set_permissions(fs::Permissions::from_mode(0o755))
            .map_err(fault)?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let Some(path) = &self.0 else {
            return;
        };
        if let Err(e) = fs::remove_file(path) {
            eprintln!("{}: {e}", path.display());
        }
    }
}
