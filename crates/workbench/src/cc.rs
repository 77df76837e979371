//! Compiling C programs against the installed libevent headers.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process;

/// How long one program may take to compile.
const LIMIT: Duration = Duration::from_secs(120);

/// Compiles and links C `sources` into the program `out`, with each of `libs` as `-lNAME`
/// (`"event"`, `"event_pthreads"`), against the libevent that the system's headers belong to.
/// Which library the program then runs on is decided when it starts.
///
/// `out` appears complete or not at all. Warnings are errors.
pub fn compile_c<S: AsRef<Path>>(sources: &[S], out: &Path, libs: &[&str]) -> Result<(), String> {
    compile_c_with(sources, out, libs, &[])
}

/// [`compile_c`] with further `flags` for the compiler.
pub fn compile_c_with<S: AsRef<Path>>(
    sources: &[S],
    out: &Path,
    libs: &[&str],
    flags: &[&str],
) -> Result<(), String> {
    let mut name = out
        .file_name()
        .unwrap_or(OsStr::new("program"))
        .to_os_string();
    name.push(format!(".{}", unique()));
    let temporary = out.with_file_name(name);
    if let Some(dir) = out.parent() {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let mut cc = Command::new("cc");
    cc.args([
        "-std=gnu11",
        "-O2",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pthread",
    ]);
    cc.args(flags).arg("-o").arg(&temporary);
    cc.args(sources.iter().map(AsRef::as_ref));
    cc.args(libs.iter().map(|lib| format!("-l{lib}")));
    let output = process::run(&mut cc, LIMIT)?;
    if !output.status.success() {
        return Err(format!(
            "{}: does not compile:\n{}",
            out.display(),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    fs::rename(&temporary, out).map_err(|e| format!("{}: {e}", out.display()))
}

/// Differs between processes and between the threads of one: both compile the same program at once.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
