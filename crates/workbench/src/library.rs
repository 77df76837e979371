//! Building the drop-in library and laying it out under the names that programs ask for.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::Folder;

/// The environment variable that names a folder with the library, so that nothing is built.
pub const LIB_DIR_VARIABLE: &str = "FERREVENT_LIB_DIR";

/// The five names under which programs load libevent. The first is the library itself.
pub const SONAMES: [&str; 5] = [
    "libevent-2.1.so.7",
    "libevent_core-2.1.so.7",
    "libevent_extra-2.1.so.7",
    "libevent_pthreads-2.1.so.7",
    "libevent_openssl-2.1.so.7",
];

/// The absolute path of a folder that holds our library under all of [`SONAMES`].
///
/// It is the folder that [`LIB_DIR_VARIABLE`] names, or else it is built: the release library in
/// `libevent/` of cargo's target directory. Safe to call from many processes at once.
pub fn library() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os(LIB_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
        let dir = fs::canonicalize(&dir)
            .map_err(|e| format!("{LIB_DIR_VARIABLE}={}: {e}", dir.to_string_lossy()))?;
        return match SONAMES.iter().find(|name| !dir.join(name).exists()) {
            None => Ok(dir),
            Some(name) => Err(format!(
                "{LIB_DIR_VARIABLE}={}: there is no {name} in it",
                dir.display()
            )),
        };
    }
    let target = target_dir()?;
    let dir = target.join("libevent");
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let _lock = lock(&dir.join(".lock"))?;
    let built = build(&target)?;
    lay_out(&built, &dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    fs::canonicalize(&dir).map_err(|e| format!("{}: {e}", dir.display()))
}

/// Puts `dir` in front of where the dynamic loader looks when `command` starts.
pub fn with_library<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    let mut path = OsString::from(dir);
    if let Some(old) = std::env::var_os("LD_LIBRARY_PATH").filter(|old| !old.is_empty()) {
        path.push(":");
        path.push(old);
    }
    command.env("LD_LIBRARY_PATH", path)
}

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo's target directory, wherever the environment or a configuration file puts it.
pub fn target_dir() -> Result<PathBuf, String> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_once("\"target_directory\":\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .ok_or_else(|| "cargo metadata names no target directory".into())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root());
    cargo
}

fn build(target: &Path) -> Result<PathBuf, String> {
    // Cargo's progress goes to our standard error: a first build takes a while.
    let status = cargo()
        .args([
            "build",
            "--release",
            "--package",
            "ferrevent-libevent",
            "--target-dir",
        ])
        .arg(target)
        .stdout(Stdio::null())
        .status()
        .map_err(|e| format!("cargo build: {e}"))?;
    if !status.success() {
        return Err("the library does not build".into());
    }
    Ok(target.join("release/libferrevent_libevent.so"))
}

/// An exclusive lock on `path`, held until the returned file is dropped.
fn lock(path: &Path) -> Result<File, String> {
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    };
    let file = open().map_err(|e| format!("{}: {e}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(file)
}

/// Fills `dir` with the library and its siblings. A file that is right already stays untouched, and
/// every other one is renamed into place: programs that have the old one mapped keep it.
fn lay_out(built: &Path, dir: &Path) -> io::Result<()> {
    let [main, siblings @ ..] = SONAMES;
    let library = dir.join(main);
    let bytes = fs::read(built)?;
    let changed = fs::read(&library).map_or(true, |old| old != bytes);
    if changed {
        replace(&library, |temporary| fs::write(temporary, &bytes))?;
    }
    for name in siblings {
        let sibling = dir.join(name);
        let wanted = match name {
            OPENSSL => is_older(&sibling, &workspace_root().join(OPENSSL_SOURCE)),
            _ => !sibling.exists(),
        };
        if wanted {
            replace(&sibling, |temporary| link_sibling(dir, name, temporary))?;
        }
    }
    for name in SONAMES {
        let Some((stem, _)) = name.split_once("-2.1") else {
            continue;
        };
        let link = dir.join(format!("{stem}.so"));
        if fs::read_link(&link).ok().as_deref() != Some(Path::new(name)) {
            replace(&link, |temporary| {
                std::os::unix::fs::symlink(name, temporary)
            })?;
        }
    }
    Ok(())
}

fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    write(&temporary)?;
    fs::rename(&temporary, path)
}

/// The sibling that brings in OpenSSL.
const OPENSSL: &str = "libevent_openssl-2.1.so.7";

/// Its source.
const OPENSSL_SOURCE: &str = "crates/capi/src/bufferevent/tls/openssl.c";

/// What programs get OpenSSL 3 by.
const OPENSSL_SONAMES: [&str; 2] = ["libssl.so.3", "libcrypto.so.3"];

/// Whether there is no `file`, or an older one than `source`.
fn is_older(file: &Path, source: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    match (modified(file), modified(source)) {
        (Ok(file), Ok(source)) => file < source,
        _ => true,
    }
}

/// A sibling implements nothing: it makes the loader bring in the one library beside it, so that a
/// process has one copy of the implementation whichever of the five names it asks for. Only that of
/// OpenSSL has functions: they hand OpenSSL's to the library.
fn link_sibling(dir: &Path, soname: &str, out: &Path) -> io::Result<()> {
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-nostdlib", "-fPIC", "-O2", "-x", "c"]);
    let stubs = Folder::create().map_err(io::Error::other)?;
    if soname == OPENSSL {
        cc.arg(workspace_root().join(OPENSSL_SOURCE));
        cc.args(["-x", "none", "-Wl,--no-as-needed"]);
        // OpenSSL need not be here: its names are enough for the loader to find it later on.
        for soname in OPENSSL_SONAMES {
            let stub = stubs.path().join(soname);
            link_stub(soname, &stub)?;
            cc.arg(stub);
        }
    } else {
        cc.args(["/dev/null", "-x", "none"]);
    }
    let output = cc
        .arg("-o")
        .arg(out)
        .arg("-L")
        .arg(dir)
        .args(["-Wl,--no-as-needed", &format!("-l:{}", SONAMES[0])])
        .args([
            "-Wl,--enable-new-dtags,-rpath,$ORIGIN",
            &format!("-Wl,-soname,{soname}"),
        ])
        .output()?;
    succeeded(&output)
}

/// A library with a name and nothing else.
fn link_stub(soname: &str, out: &Path) -> io::Result<()> {
    let output = Command::new("cc")
        .args(["-shared", "-nostdlib", "-x", "c", "/dev/null", "-o"])
        .arg(out)
        .arg(format!("-Wl,-soname,{soname}"))
        .output()?;
    succeeded(&output)
}

fn succeeded(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    )))
}
