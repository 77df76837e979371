//! The one time that stands in the packages, so that the same sources give the same bytes.

use std::process::Command;

use ferrevent_workbench::workspace_root;

/// `SOURCE_DATE_EPOCH`, or else the time of the last commit, in seconds since 1970.
pub(super) fn source_date_epoch() -> Result<u64, String> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    if let Ok(value) = std::env::var(VARIABLE) {
        return value.parse().map_err(|e| format!("{VARIABLE}: {e}"));
    }
    let output = Command::new("git")
        .current_dir(workspace_root())
        .args(["log", "-1", "--format=%ct"])
        .output();
    output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| format!("these sources are not in git: set {VARIABLE}"))
}

/// As changelogs have it, in UTC.
pub(super) fn rfc2822(epoch: u64) -> Result<String, String> {
    let output = Command::new("date")
        .env("LC_ALL", "C")
        .args(["-u", "-R", "-d", &format!("@{epoch}")])
        .output()
        .map_err(|e| format!("date: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("date: {epoch} is no time"));
    }
    Ok(text.trim().into())
}
