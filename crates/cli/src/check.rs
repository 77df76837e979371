//! `ferrevent check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::TROUBLE;
use crate::library::Library;
use crate::loader;
use crate::needs::Needs;

/// Prints what each of `files` needs. The worst of them decides the exit status.
pub(crate) fn check(files: &[PathBuf]) -> Result<ExitCode, String> {
    let library = Library::find()?;
    let mut worst = 0;
    for file in files {
        let status = match report(file, &library) {
            Ok(0) => 0,
            Ok(_) => 1,
            Err(message) => {
                eprintln!("ferrevent: {message}");
                TROUBLE
            }
        };
        worst = worst.max(status);
    }
    Ok(ExitCode::from(worst))
}

/// How many functions are missing.
fn report(file: &Path, library: &Library) -> Result<usize, String> {
    let path = loader::find_program(file.as_os_str())?;
    let needs = Needs::of(&path, library)?;
    let missing = needs.missing().len();
    let verdict = match missing {
        0 => "all there".to_string(),
        n => format!("{n} missing"),
    };
    println!(
        "{}: {} functions of libevent, {verdict}",
        path.display(),
        needs.all().len()
    );
    for need in needs.all() {
        let state = if need.there { "there  " } else { "missing" };
        let by: Vec<String> = need.by.iter().map(|by| by.display().to_string()).collect();
        if need.by.as_slice() == [path.as_path()] {
            println!("  {state}  {}", need.symbol);
        } else {
            println!("  {state}  {}  (needed by {})", need.symbol, by.join(", "));
        }
    }
    Ok(missing)
}
