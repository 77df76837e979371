//! What the dynamic loader does with a file: asked of the loader itself, which alone knows its
//! caches, hardware folders, RPATHs and their order.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf::Elf;

/// The folders that the loader searches before the system's.
pub(crate) const PATH_VARIABLE: &str = "LD_LIBRARY_PATH";

/// A library that a file needs, directly or not.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The name that was asked for.
    pub(crate) name: String,
    /// What the loader found for it, if anything.
    pub(crate) path: Option<PathBuf>,
}

/// Finds `program` as a shell does: in PATH, unless its name holds a slash.
pub(crate) fn find_program(program: &OsStr) -> Result<PathBuf, String> {
    let name = program.to_string_lossy();
    if program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(program));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&folders)
        .map(|dir| dir.join(program))
        .find(executable)
        // A library in the working folder, as `ferrevent check libfoo.so` means it.
        .or_else(|| Some(PathBuf::from(program)).filter(|path| path.is_file()))
        .ok_or_else(|| format!("{name}: not found in PATH"))
}

/// All libraries that would be loaded with `file`, in the loader's order, with `search_path` as
/// [`PATH_VARIABLE`]. Nothing of the file is run.
pub(crate) fn loaded_with(file: &Path, search_path: &OsString) -> Result<Vec<Loaded>, String> {
    trace(file, search_path, OsStr::new(""))
}

/// Where programs that say nothing of their own about it find each of `names`, with `search_path` as
/// [`PATH_VARIABLE`]. What is not found is left out.
pub(crate) fn found_with(names: &[&str], search_path: &OsStr) -> Result<Vec<Loaded>, String> {
    // Libraries that are to be preloaded are searched for like those that a program links.
    let loaded = trace(
        Path::new("/proc/self/exe"),
        search_path,
        OsStr::new(&names.join(" ")),
    )?;
    let asked = |loaded: &Loaded| names.contains(&loaded.name.as_str());
    Ok(loaded.into_iter().filter(asked).collect())
}

/// Has the loader list what it loads for `file`, whose code is not run.
fn trace(file: &Path, search_path: &OsStr, preload: &OsStr) -> Result<Vec<Loaded>, String> {
    let loader = system_loader()?;
    let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    // Without a slash the loader would search for it.
    let absolute = fs::canonicalize(file).map_err(|e| fault(&e))?;
    let output = Command::new(&loader)
        .arg(&absolute)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .env(PATH_VARIABLE, search_path)
        .env("LD_PRELOAD", preload)
        .env_remove("LD_WARN")
        .env_remove("LD_BIND_NOW")
        .output()
        .map_err(|e| format!("{}: {e}", loader.display()))?;
    if !output.status.success() {
        return Err(fault(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output
        .stdout
        .split(|b| *b == b'\n')
        .filter_map(parse)
        .collect())
}

/// One line of the answer: `name => path (address)`, `name => not found`, or, for the loader
/// itself and what is named by its path, `path (address)`.
fn parse(line: &[u8]) -> Option<Loaded> {
    let line = line.trim_ascii();
    let split = line.windows(4).position(|w| w == b" => ");
    let (name, rest) = match split {
        Some(at) => (&line[..at], &line[at + 4..]),
        None => (line, line),
    };
    let path = strip_address(rest);
    if split.is_none() && path.is_none() {
        return None;
    }
    let name = strip_address(name).unwrap_or(name);
    Some(Loaded {
        name: String::from_utf8_lossy(name).into_owned(),
        path: path
            .filter(|path| path.contains(&b'/'))
            .map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))),
    })
}

fn strip_address(text: &[u8]) -> Option<&[u8]> {
    let at = text.windows(4).rposition(|w| w == b" (0x")?;
    Some(&text[..at])
}

/// The loader of this executable, and not the one that the file names: a file that is only checked
/// must not choose what we run.
fn system_loader() -> Result<PathBuf, String> {
    let this = Elf::read(Path::new("/proc/self/exe"))?;
    this.interpreter
        .ok_or_else(|| "this executable is static: it knows no loader".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<(String, Option<PathBuf>)> {
        parse(line.as_bytes()).map(|loaded| (loaded.name, loaded.path))
    }

    #[test]
    fn lines_of_the_loader() {
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(
            parsed("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)"),
            Some(("libc.so.6".into(), path("/lib/libc.so.6")))
        );
        assert_eq!(
            parsed("\tlibx.so => not found"),
            Some(("libx.so".into(), None))
        );
        assert_eq!(
            parsed("\t/lib64/ld-linux.so.2 (0x00007f)"),
            Some(("/lib64/ld-linux.so.2".into(), path("/lib64/ld-linux.so.2")))
        );
        assert_eq!(
            parsed("\ta b.so => /with space (0x1)/a b.so (0x00007f)"),
            Some(("a b.so".into(), path("/with space (0x1)/a b.so")))
        );
        assert_eq!(
            parsed("\tlinux-vdso.so.1 (0x7f)"),
            Some(("linux-vdso.so.1".into(), None))
        );
        assert_eq!(parsed("\tstatically linked"), None);
        assert_eq!(parsed(""), None);
    }
}
