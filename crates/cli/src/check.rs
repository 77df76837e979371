//! `ferrevent check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::library::Library;
use crate::loader;
use crate::needs::Needs;
use crate::{TROUBLE, answer};

/// Prints what each of `files` needs. The worst of them decides the exit status.
pub(crate) fn check(files: &[PathBuf]) -> Result<ExitCode, String> {
    let library = Library::find()?;
    let mut worst = 0;
    for file in files {
        let reported = report(file, &library).and_then(|(text, missing)| {
            answer(&text)?;
            Ok(missing)
        });
        let status = match reported {
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

/// What there is to say about `file`, and how many functions are missing.
fn report(file: &Path, library: &Library) -> Result<(String, usize), String> {
    let path = loader::find_program(file.as_os_str())?;
    let needs = Needs::of(&path, library)?;
    let missing = needs.missing().len();
    let verdict = match missing {
        0 => "all there".to_string(),
        n => format!("{n} missing"),
    };
    let mut text = format!(
        "{}: {} functions of libevent, {verdict}\n",
        path.display(),
        needs.all().len()
    );
    for need in needs.all() {
        let state = if need.there { "there  " } else { "missing" };
        let by: Vec<String> = need.by.iter().map(|by| by.display().to_string()).collect();
        text += &format!("  {state}  {}", need.symbol);
        if need.by.as_slice() != [path.as_path()] {
            text += &format!("  (needed by {})", by.join(", "));
        }
        text.push('\n');
    }
    Ok((text, missing))
}
