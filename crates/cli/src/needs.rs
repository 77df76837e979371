//! Which functions of libevent a file, or a library that comes with it, needs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::library::{Library, SONAMES};
use crate::loader::{self, Loaded};

/// libevent 2.1's public functions: name, group, library, header, users; a line of titles first.
const TABLE: &str = include_str!("../abi/symbols.tsv");

/// A function of libevent that something needs.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) symbol: String,
    /// The files that need it.
    pub(crate) by: Vec<PathBuf>,
    /// Whether our library has it.
    pub(crate) there: bool,
}

/// What a file needs of libevent.
#[derive(Debug)]
pub(crate) struct Needs {
    /// By the name of the function.
    all: Vec<Need>,
    /// The libevent files that would be loaded, and whether they are ours.
    mapped: Vec<(PathBuf, bool)>,
}

impl Needs {
    /// Follows all libraries that are loaded with `file`, as if they ran on `library`.
    pub(crate) fn of(file: &Path, library: &Library) -> Result<Self, String> {
        let elf = Elf::read(file)?;
        elf.fits_this_machine(file)?;
        let loaded = loader::loaded_with(file, &library.search_path())?;
        let mapped: Vec<(PathBuf, bool)> = loaded
            .iter()
            .filter(|loaded| is_libevent(loaded))
            .filter_map(|loaded| loaded.path.clone())
            .map(|path| (path.clone(), library.holds(&path)))
            .collect();
        if mapped.is_empty() {
            return Err(not_linked(file, &loaded));
        }

        let mut objects = vec![(file.to_path_buf(), elf)];
        for path in loaded
            .iter()
            .filter(|loaded| !is_libevent(loaded))
            .filter_map(|l| l.path.clone())
        {
            let elf = Elf::read(&path)?;
            objects.push((path, elf));
        }
        Ok(Self {
            all: collect(&objects, library),
            mapped,
        })
    }

    /// All functions, sorted by name.
    pub(crate) fn all(&self) -> &[Need] {
        &self.all
    }

    /// Those that our library does not have.
    pub(crate) fn missing(&self) -> Vec<&Need> {
        self.all.iter().filter(|need| !need.there).collect()
    }

    /// A libevent that would be loaded and is not ours.
    pub(crate) fn elsewhere(&self) -> Option<&Path> {
        self.mapped
            .iter()
            .find(|(_, ours)| !ours)
            .map(|(path, _)| path.as_path())
    }

    /// Our file that holds the implementation, as the loader names it.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = &Path> {
        self.mapped
            .iter()
            .map(|(path, _)| path.as_path())
            .filter(|path| path.ends_with(SONAMES[0]))
    }
}

/// Symbols that some object lacks and that are libevent's: those of its headers, and what an
/// object that links libevent lacks and nothing else defines.
fn collect(objects: &[(PathBuf, Elf)], library: &Library) -> Vec<Need> {
    let public: HashSet<&str> = TABLE
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
        .collect();
    let mut defined: HashMap<&str, &Path> = HashMap::new();
    for (path, elf) in objects {
        for symbol in &elf.defined {
            defined.entry(symbol).or_insert(path);
        }
    }
    let mut found: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for (path, elf) in objects {
        let links = elf
            .needed
            .iter()
            .any(|name| SONAMES.contains(&name.as_str()));
        for symbol in &elf.undefined {
            let libevents = public.contains(symbol.as_str()) || links;
            if libevents && !defined.contains_key(symbol.as_str()) {
                found.entry(symbol).or_default().push(path.clone());
            }
        }
    }
    found
        .into_iter()
        .map(|(symbol, by)| Need {
            symbol: symbol.into(),
            by,
            there: library.exports(symbol),
        })
        .collect()
}

/// Whether it was asked for by one of libevent 2.1's names.
pub(crate) fn is_libevent(loaded: &Loaded) -> bool {
    let base = loaded.name.rsplit('/').next().unwrap_or(&loaded.name);
    SONAMES.contains(&base)
}

fn not_linked(file: &Path, loaded: &[Loaded]) -> String {
    let other = loaded
        .iter()
        .find(|l| l.name.starts_with("libevent") && l.name.contains(".so"));
    match other {
        Some(other) => {
            format!(
                "{} links {}, which is not libevent 2.1",
                file.display(),
                other.name
            )
        }
        None => format!(
            "{} does not link libevent: neither it nor a library that it loads at start needs {}",
            file.display(),
            SONAMES.join(", ")
        ),
    }
}
