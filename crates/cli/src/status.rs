//! `ferrevent status`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::answer;
use crate::elf::Elf;
use crate::library::SONAMES;
use crate::loader::{self, Loaded};
use crate::processes::{Mapped, Process, Processes};

/// A function that only ferrevent has.
const OURS: &str = "ferrevent_bufferevent_finish";

/// Prints which libevent this system's programs load, and which one its processes have.
pub(crate) fn status(as_json: bool) -> Result<ExitCode, String> {
    let status = Status::of_this_system()?;
    answer(&match as_json {
        true => format!("{:#}\n", status.json()),
        false => status.text(),
    })?;
    Ok(ExitCode::from(u8::from(
        status.users.iter().any(|user| user.restart.is_some()),
    )))
}

struct Status {
    /// The five names, and the files that are found by them.
    names: Vec<(&'static str, Option<File>)>,
    users: Vec<User>,
    elsewhere: u32,
    unseen: u32,
}

struct File {
    path: PathBuf,
    ours: bool,
}

/// A process that uses libevent.
struct User {
    process: Process,
    /// None if the file is gone, and that cannot be seen.
    ours: Option<bool>,
    /// Why it has to be restarted in order to run on what it would load now.
    restart: Option<String>,
}

impl Status {
    fn of_this_system() -> Result<Self, String> {
        let mut kinds = Kinds::default();
        let found = loader::found_with(&SONAMES, OsStr::new(""))?;
        let names = SONAMES.map(|name| {
            let found = found.iter().find(|loaded| loaded.name == name);
            let file = found.and_then(|loaded| loaded.path.clone()).map(|path| {
                let ours = kinds.is_ours(&path);
                File { path, ours }
            });
            (name, file)
        });
        let processes = Processes::look()?;
        let users = processes.using.into_iter().map(|process| User {
            ours: kinds.runs_on_ours(&process),
            restart: restart(&process, &found),
            process,
        });
        Ok(Self {
            users: users.collect(),
            names: names.into(),
            elsewhere: processes.elsewhere,
            unseen: processes.unseen,
        })
    }

    fn text(&self) -> String {
        let mut text = String::from("Programs that are started now load\n");
        for (name, file) in &self.names {
            let (kind, path) = match file {
                Some(file) => (kind(file.ours), file.path.display().to_string()),
                None => ("nothing", String::new()),
            };
            text += format!("  {kind:<9}  {name:<26} {path}").trim_end();
            text.push('\n');
        }
        text += match self.users.is_empty() {
            true => "No process runs on libevent 2.1\n",
            false => "Processes\n",
        };
        for User {
            process,
            ours,
            restart,
        } in &self.users
        {
            text += &format!(
                "  {:<9}  {:>7} {}\n",
                ours.map_or("unknown", kind),
                process.pid,
                process.name
            );
            for Mapped { path, gone, .. } in &process.mapped {
                let gone = if *gone { " (replaced or removed)" } else { "" };
                text += &format!("{:21}{}{gone}\n", "", path.display());
            }
            if let Some(why) = restart {
                text += &format!("{:21}needs a restart: {why}\n", "");
            }
        }
        if self.elsewhere > 0 {
            text += &format!(
                "In containers or other root directories, with files of their own: {}\n",
                self.elsewhere
            );
        }
        if self.unseen > 0 {
            text += &format!("Not looked into, for lack of permission: {}\n", self.unseen);
        }
        text
    }

    fn json(&self) -> Value {
        let names = self.names.iter().map(|(name, file)| {
            json!({
                "name": name,
                "file": file.as_ref().map(|file| file.path.to_string_lossy()),
                "ferrevent": file.as_ref().is_some_and(|file| file.ours),
            })
        });
        let users = self.users.iter().map(|user| {
            let files = user.process.mapped.iter().map(|file| {
                json!({
                    "file": file.path.to_string_lossy(),
                    "gone": file.gone,
                })
            });
            json!({
                "pid": user.process.pid,
                "name": user.process.name,
                "mapped": files.collect::<Vec<_>>(),
                "ferrevent": user.ours,
                "restart": user.restart,
            })
        });
        json!({
            "loads": names.collect::<Vec<_>>(),
            "processes": users.collect::<Vec<_>>(),
            "elsewhere": self.elsewhere,
            "unseen": self.unseen,
        })
    }
}

fn kind(ours: bool) -> &'static str {
    if ours { "ferrevent" } else { "libevent" }
}

/// Why `process` runs on something else than its program would load now, if it does; `default` is
/// what programs find.
fn restart(process: &Process, default: &[Loaded]) -> Option<String> {
    if process.mapped.iter().any(|file| file.gone) {
        return Some("the file that it runs on has been replaced or removed".into());
    }
    let own = process.would_load();
    let expected: Vec<PathBuf> = own
        .as_deref()
        .unwrap_or(default)
        .iter()
        .filter_map(|loaded| fs::canonicalize(loaded.path.as_ref()?).ok())
        .collect();
    let same = |file: &Mapped| {
        let path = fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
        expected.contains(&path)
    };
    if process.mapped.iter().all(same) {
        return None;
    }
    Some(match expected.first() {
        Some(file) => format!("it would load {} now", file.display()),
        None => "it would not find a libevent now".into(),
    })
}

/// Which files are ferrevent's, looked up once each.
#[derive(Default)]
struct Kinds(HashMap<PathBuf, bool>);

impl Kinds {
    /// Whether all that `process` has mapped is ferrevent's.
    fn runs_on_ours(&mut self, process: &Process) -> Option<bool> {
        let mut all = true;
        for file in &process.mapped {
            all &= match file.gone {
                true => self.was_ours(process, file)?,
                false => self.is_ours(&file.path),
            };
        }
        Some(all)
    }

    /// Whether a file that is gone was ferrevent's. The process has it yet, but only root may read it there;
    /// others see what has taken its place, which most likely comes from the same package.
    fn was_ours(&mut self, process: &Process, file: &Mapped) -> Option<bool> {
        let library = file.path.with_file_name(SONAMES[0]);
        let beside = |other: &&Mapped| {
            let name = other.path.file_name().unwrap_or_default();
            other.gone
                && other.path.parent() == file.path.parent()
                && name.to_string_lossy().starts_with("libevent-")
        };
        // The implementation stands, and goes, beside the other four.
        let implementation = process.mapped.iter().find(beside).unwrap_or(file);
        match Elf::read(&process.readable(implementation)) {
            Ok(elf) => Some(elf.defined.iter().any(|name| name == OURS)),
            Err(_) => library.is_file().then(|| self.is_ours(&file.path)),
        }
    }

    /// Whether `file` is one of the five of a ferrevent: the implementation stands beside it.
    fn is_ours(&mut self, file: &Path) -> bool {
        let library = file.with_file_name(SONAMES[0]);
        *self.0.entry(library).or_insert_with_key(|library| {
            Elf::read(library).is_ok_and(|elf| elf.defined.iter().any(|name| name == OURS))
        })
    }
}
