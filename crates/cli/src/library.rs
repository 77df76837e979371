//! Where our library is and what it exports.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::loader;

/// Names a folder with the library, before all others.
const DIR_VARIABLE: &str = "FERREVENT_LIB_DIR";

/// The names under which programs load libevent 2.1.
pub(crate) const SONAMES: [&str; 5] = [
    "libevent-2.1.so.7",
    "libevent_core-2.1.so.7",
    "libevent_extra-2.1.so.7",
    "libevent_pthreads-2.1.so.7",
    "libevent_openssl-2.1.so.7",
];

/// The folder with our library under its five names.
#[derive(Debug)]
pub(crate) struct Library {
    dir: PathBuf,
    exports: HashSet<String>,
}

impl Library {
    /// Finds it by [`DIR_VARIABLE`], or beside this executable: as it is installed by hand
    /// (`bin/ferrevent` and `lib/ferrevent/`) or by Debian's package (in the folder of the
    /// architecture below `lib/`), in the same folder, or as cargo builds it.
    pub(crate) fn find() -> Result<Self, String> {
        if let Some(dir) = std::env::var_os(DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
            return Self::open(Path::new(&dir)).map_err(|e| format!("{DIR_VARIABLE}: {e}"));
        }
        let exe = std::env::current_exe().map_err(|e| format!("this executable: {e}"))?;
        let bin = exe.parent().unwrap_or(Path::new("/"));
        let places = [
            bin.join("../lib/ferrevent"),
            bin.join(format!(
                "../lib/{}-linux-gnu/ferrevent",
                std::env::consts::ARCH
            )),
            bin.to_path_buf(),
            bin.join("../libevent"),
        ];
        match places.iter().find(|dir| dir.join(SONAMES[0]).exists()) {
            Some(dir) => Self::open(dir),
            None => Err(format!(
                "the library {} is in none of {}: name its folder in {DIR_VARIABLE} \
                 (`cargo xtask lib` builds it and prints that folder)",
                SONAMES[0],
                places.map(|dir| dir.display().to_string()).join(", ")
            )),
        }
    }

    fn open(dir: &Path) -> Result<Self, String> {
        let dir = fs::canonicalize(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut exports = HashSet::new();
        for name in SONAMES {
            exports.extend(Elf::read(&dir.join(name))?.defined);
        }
        Ok(Self { dir, exports })
    }

    /// Whether it defines `symbol`.
    pub(crate) fn exports(&self, symbol: &str) -> bool {
        self.exports.contains(symbol)
    }

    /// Whether `file` is one of its files.
    pub(crate) fn holds(&self, file: &Path) -> bool {
        file.parent()
            .and_then(|dir| fs::canonicalize(dir).ok())
            .is_some_and(|dir| dir == self.dir)
    }

    /// The value of `LD_LIBRARY_PATH` that makes programs load it.
    pub(crate) fn search_path(&self) -> OsString {
        let mut path = self.dir.clone().into_os_string();
        if let Some(old) = std::env::var_os(loader::PATH_VARIABLE).filter(|old| !old.is_empty()) {
            path.push(":");
            path.push(old);
        }
        path
    }
}
