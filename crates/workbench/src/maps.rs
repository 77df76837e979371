//! Which libevent a running process uses.

use std::fs;
use std::path::PathBuf;

/// The files with `libevent` in their name that process `pid` has mapped, each once, in the order
/// of their addresses. A file that was replaced since carries the kernel's ` (deleted)`.
pub fn mapped_libevent(pid: u32) -> Result<Vec<PathBuf>, String> {
    let maps = format!("/proc/{pid}/maps");
    let text = fs::read_to_string(&maps).map_err(|e| format!("{maps}: {e}"))?;
    let mut found = Vec::new();
    for line in text.lines() {
        // address, permissions, offset, device, inode, path: only the path may hold spaces.
        let Some(start) = line.find('/') else {
            continue;
        };
        let path = PathBuf::from(&line[start..]);
        let named = path
            .file_name()
            .is_some_and(|f| f.to_string_lossy().starts_with("libevent"));
        if named && !found.contains(&path) {
            found.push(path);
        }
    }
    Ok(found)
}
