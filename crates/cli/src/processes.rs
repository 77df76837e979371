//! Which libevent the running processes have mapped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::library::SONAMES;
use crate::loader::{self, Loaded};
use crate::needs::is_libevent;

/// A process that has a libevent mapped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The name that the kernel has for it.
    pub(crate) name: String,
    /// The files of libevent in it.
    pub(crate) mapped: Vec<Mapped>,
}

/// A file of libevent in a process.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) path: PathBuf,
    /// Whether the file that is mapped is there no more, though another one may have its name.
    pub(crate) gone: bool,
    /// Where it is mapped, as the kernel writes it.
    range: String,
}

/// What is known about all processes.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    /// Those of this system that use libevent 2.1, by number.
    pub(crate) using: Vec<Process>,
    /// How many use one in a root directory of their own: a container's files are not this system's.
    pub(crate) elsewhere: u32,
    /// How many this user may not look into.
    pub(crate) unseen: u32,
}

impl Processes {
    /// Looks at all that run now.
    pub(crate) fn look() -> Result<Self, String> {
        let root = fs::metadata("/").map_err(|e| format!("/: {e}"))?;
        let entries = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
        let mut pids: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();

        let mut all = Self::default();
        for pid in pids {
            let mapped = match mapped(pid) {
                Ok(mapped) => mapped,
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    all.unseen += 1;
                    continue;
                }
                // It has ended meanwhile.
                Err(_) => continue,
            };
            if mapped.is_empty() {
                continue;
            }
            let Ok(its_root) = fs::metadata(format!("/proc/{pid}/root")) else {
                continue;
            };
            if (its_root.dev(), its_root.ino()) != (root.dev(), root.ino()) {
                all.elsewhere += 1;
                continue;
            }
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            all.using.push(Process {
                pid,
                name: name.trim_end().into(),
                mapped,
            });
        }
        Ok(all)
    }
}

impl Process {
    /// What can be read of a file as it is mapped, also if it is gone. Only root may read that then.
    pub(crate) fn readable(&self, file: &Mapped) -> PathBuf {
        match file.gone {
            true => format!("/proc/{}/map_files/{}", self.pid, file.range).into(),
            false => file.path.clone(),
        }
    }

    /// The files of libevent that its program would load if it were started again with the same
    /// `LD_LIBRARY_PATH`. Of a program that is gone, or loads libevent later on, those that this path
    /// leads to. None if that cannot be said.
    pub(crate) fn would_load(&self) -> Option<Vec<Loaded>> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        let search_path = environment
            .split(|b| *b == 0)
            .find_map(|entry| entry.strip_prefix(loader::PATH_VARIABLE.as_bytes()))
            .and_then(|entry| entry.strip_prefix(b"="))
            .unwrap_or_default();
        let search_path = OsString::from_vec(search_path.to_vec());
        let program = format!("/proc/{}/exe", self.pid);
        let linked = loader::loaded_with(Path::new(&program), &search_path).unwrap_or_default();
        if linked.iter().any(is_libevent) {
            return Some(linked.into_iter().filter(is_libevent).collect());
        }
        loader::found_with(&SONAMES, &search_path).ok()
    }
}

/// The files of libevent 2.1 that process `pid` has mapped.
fn mapped(pid: u32) -> io::Result<Vec<Mapped>> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    // A file is mapped in several pieces.
    let mut mapped: BTreeMap<(PathBuf, bool), Mapped> = BTreeMap::new();
    for piece in String::from_utf8_lossy(&maps).lines().filter_map(mapping) {
        mapped
            .entry((piece.path.clone(), piece.gone))
            .or_insert(piece);
    }
    Ok(mapped.into_values().collect())
}

/// One line of the file: address, permissions, offset, device, inode and path, of which only the
/// path holds slashes.
fn mapping(line: &str) -> Option<Mapped> {
    let range = line.split(' ').next()?.into();
    let path = &line[line.find('/')?..];
    let (path, gone) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path = PathBuf::from(path);
    let name = path.file_name()?.to_str()?;
    (name.starts_with("libevent") && name.contains("-2.1.so.7")).then_some(Mapped {
        path,
        gone,
        range,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let mapped = |line: &str| mapping(line).map(|m| (m.path.display().to_string(), m.gone));
        let head = "7f2a0000-7f2b0000 r-xp 00001000 fe:00 1234      ";
        assert_eq!(
            mapped(&format!("{head} /usr/lib/libevent-2.1.so.7.0.1")),
            Some(("/usr/lib/libevent-2.1.so.7.0.1".into(), false))
        );
        assert_eq!(
            mapped(&format!("{head} /a b/libevent_core-2.1.so.7 (deleted)")),
            Some(("/a b/libevent_core-2.1.so.7".into(), true))
        );
        assert_eq!(mapped(&format!("{head} /usr/lib/libevent-2.0.so.5")), None);
        assert_eq!(mapped(&format!("{head} /usr/lib/libc.so.6")), None);
        assert_eq!(mapped(&format!("{head} [heap]")), None);
        assert_eq!(mapped("7f2a0000-7f2b0000 rw-p 00000000 00:00 0"), None);
    }
}
