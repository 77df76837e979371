//! What the packages say of themselves: control fields, what they depend on, the changelog.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _};
use object::{Endianness, elf};

use super::date;

/// The packages' version: ours, packed for the first time.
pub(super) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");

/// The fields of a control file that differ between packages.
pub(super) struct Control {
    pub(super) package: &'static str,
    pub(super) architecture: &'static str,
    pub(super) section: &'static str,
    /// Fields that name other packages.
    pub(super) relations: Vec<(&'static str, String)>,
    /// The short description, and behind it the lines of the long one.
    pub(super) description: &'static str,
}

impl Control {
    /// The file, for a package that takes `size` KiB.
    pub(super) fn text(&self, size: u64) -> String {
        let mut text = format!(
            "Package: {}\nVersion: {VERSION}\nArchitecture: {}\nMaintainer: {}\n\
             Installed-Size: {size}\n",
            self.package,
            self.architecture,
            maintainer(),
        );
        for (name, value) in &self.relations {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        let _ = write!(
            text,
            "Section: {}\nPriority: optional\nHomepage: {}\nDescription: {}\n",
            self.section,
            env!("CARGO_PKG_REPOSITORY"),
            self.description
        );
        text
    }
}

/// Debian's changelog, of one entry: ours has the rest.
pub(super) fn changelog(epoch: u64) -> Result<String, String> {
    Ok(format!(
        "ferrevent ({VERSION}) unstable; urgency=medium\n\n  \
         * Made by `cargo xtask deb`. What changed in ferrevent is in changelog.gz.\n\n \
         -- {}  {}\n",
        maintainer(),
        date::rfc2822(epoch)?
    ))
}

/// Whoever builds packages for others says who they are, in the variables of Debian's tools.
fn maintainer() -> String {
    let of = |name: &str, default: &str| {
        let value = std::env::var(name).ok();
        value
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| default.into())
    };
    format!(
        "{} <{}>",
        of("DEBFULLNAME", "The ferrevent contributors"),
        of("DEBEMAIL", "ferrevent@users.noreply.github.com")
    )
}

/// The libraries that a package's files link, each with the newest version that they ask of it.
#[derive(Default)]
pub(super) struct Linked(BTreeMap<String, Vec<u32>>);

/// Which package has a library, what its symbol versions begin with, and whether the command and
/// the library cannot do without it.
const PACKAGES: &[(&str, &str, &str, bool)] = &[
    ("libc.so.6", "libc6", "GLIBC_", true),
    ("ld-linux-x86-64.so.2", "libc6", "GLIBC_", true),
    ("ld-linux-aarch64.so.1", "libc6", "GLIBC_", true),
    ("libm.so.6", "libc6", "GLIBC_", true),
    ("libgcc_s.so.1", "libgcc-s1", "GCC_", true),
    ("libssl.so.3", "libssl3", "OPENSSL_", false),
    ("libcrypto.so.3", "libssl3", "OPENSSL_", false),
];

impl Linked {
    /// Adds what `file` links.
    pub(super) fn add(&mut self, file: &Path) -> Result<(), String> {
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let bytes = fs::read(file).map_err(|e| fault(&e))?;
        self.read(&bytes).map_err(|e| fault(&e))
    }

    fn read(&mut self, bytes: &[u8]) -> object::Result<()> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, bytes)?;
        if let Some((entries, link)) = sections.dynamic(endian, bytes)? {
            let strings = sections.strings(endian, bytes, link)?;
            for entry in entries {
                if entry.tag32(endian) == Some(DT_NEEDED) {
                    let name = entry.string(endian, strings)?;
                    self.0.entry(text(name)).or_default();
                }
            }
        }
        let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes)? else {
            return Ok(());
        };
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((need, mut versions)) = needs.next()? {
            let newest = self.0.entry(text(need.file(endian, strings)?)).or_default();
            while let Some(version) = versions.next()? {
                let version: &elf::Vernaux<Endianness> = version;
                let numbers = numbers(&text(version.name(endian, strings)?));
                *newest = numbers.max(std::mem::take(newest));
            }
        }
        Ok(())
    }

    /// The packages without which nothing runs. Fails for a library that nothing is known of.
    pub(super) fn depends(&self) -> Result<String, String> {
        let unknown = |name: &&String| {
            !name.starts_with("libevent") && PACKAGES.iter().all(|row| row.0 != name.as_str())
        };
        if let Some(name) = self.0.keys().find(unknown) {
            return Err(format!("which package has {name}? Add it to PACKAGES"));
        }
        Ok(self.packages(true))
    }

    /// The packages that only some programs need.
    pub(super) fn suggests(&self) -> String {
        self.packages(false)
    }

    fn packages(&self, needed: bool) -> String {
        let mut newest: BTreeMap<&str, &[u32]> = BTreeMap::new();
        for (library, package, _, always) in PACKAGES {
            if let Some(version) = self.0.get(*library).filter(|_| *always == needed) {
                let known = newest.entry(package).or_default();
                *known = (*known).max(version);
            }
        }
        let relations = newest.iter().map(|(package, version)| {
            let numbers: Vec<String> = version.iter().map(u32::to_string).collect();
            match numbers.as_slice() {
                [] => (*package).to_string(),
                numbers => format!("{package} (>= {})", numbers.join(".")),
            }
        });
        relations.collect::<Vec<_>>().join(", ")
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// `GLIBC_2.34` as 2 and 34; nothing for names without a number, such as `GLIBC_PRIVATE`.
fn numbers(version: &str) -> Vec<u32> {
    let known = PACKAGES
        .iter()
        .find_map(|(_, _, prefix, _)| version.strip_prefix(prefix));
    let numbers = known
        .unwrap_or_default()
        .split('.')
        .map(|n| n.parse().ok())
        .collect::<Option<Vec<u32>>>();
    numbers.unwrap_or_default()
}
