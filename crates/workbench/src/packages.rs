//! Debian packages that the tests and the demonstration need.

use std::fmt;
use std::process::Command;
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
/// process is root and `apt-get` is there, and names them otherwise.
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
