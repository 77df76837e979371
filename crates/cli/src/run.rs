//! `ferrevent run`.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::library::Library;
use crate::loader;
use crate::needs::Needs;

/// Replaces this process by `program`, running on our library. Returns only why it could not.
pub(crate) fn run(program: &OsStr, args: &[OsString]) -> Result<Infallible, String> {
    let path = loader::find_program(program)?;
    refuse_secure(&path)?;
    let library = Library::find()?;
    let needs = Needs::of(&path, &library)?;

    let missing = needs.missing();
    if !missing.is_empty() {
        return Err(format!(
            "{} needs what ferrevent does not have yet: {}",
            path.display(),
            missing
                .iter()
                .map(|need| need.symbol.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    if let Some(other) = needs.elsewhere() {
        return Err(format!(
            "{} would load {}: an RPATH in it or in one of its libraries wins over ours",
            path.display(),
            other.display()
        ));
    }
    for file in needs.mapped() {
        eprintln!("ferrevent: {} runs on {}", path.display(), file.display());
    }

    let error = Command::new(&path)
        .arg0(program)
        .args(args)
        .env(loader::PATH_VARIABLE, library.search_path())
        .exec();
    Err(format!("{}: {error}", path.display()))
}

/// The loader ignores `LD_LIBRARY_PATH` in a program that gains privileges when it starts: it
/// would quietly run on the system's libevent.
fn refuse_secure(path: &Path) -> Result<(), String> {
    let fault = |e: io::Error| format!("{}: {e}", path.display());
    let metadata = fs::metadata(path).map_err(fault)?;
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let setuid = metadata.mode() & 0o4000 != 0 && metadata.uid() != user.as_raw();
    let setgid = metadata.mode() & 0o2000 != 0 && metadata.gid() != group.as_raw();
    let capable = !user.is_root() && has_capabilities(path).map_err(fault)?;
    let reason = match (setuid, setgid, capable) {
        (true, _, _) => "setuid",
        (_, true, _) => "setgid",
        (_, _, true) => "given capabilities",
        _ => return Ok(()),
    };
    Err(format!(
        "{} is {reason}: the loader does not let LD_LIBRARY_PATH change what it loads; \
         run it as the user that it becomes, or run a copy of it",
        path.display()
    ))
}

fn has_capabilities(path: &Path) -> io::Result<bool> {
    let mut value = [0_u8; 64];
    match rustix::fs::getxattr(path, "security.capability", &mut value) {
        Ok(length) => Ok(length > 0),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
