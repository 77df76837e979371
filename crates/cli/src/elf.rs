//! What there is to know about an ELF file before it is loaded.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, FileHeader64, SHN_UNDEF, STB_LOCAL, STB_WEAK, VER_NDX_GLOBAL};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _, Sym as _};
use object::{Architecture, Endianness, Object as _};

/// The parts of an ELF file that decide what it gets from libevent.
#[derive(Debug)]
pub(crate) struct Elf {
    architecture: Architecture,
    /// The loader that the file names.
    pub(crate) interpreter: Option<PathBuf>,
    /// The names of the libraries that it links.
    pub(crate) needed: Vec<String>,
    /// What it defines for others.
    pub(crate) defined: Vec<String>,
    /// What must be defined elsewhere, without what belongs to a symbol version (libevent has
    /// none) and without weak symbols (a program runs without them).
    pub(crate) undefined: Vec<String>,
}

impl Elf {
    /// Reads `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let bytes = fs::read(path).map_err(|e| fault(&e))?;
        if bytes.starts_with(b"#!") {
            let line = bytes[2..].split(|b| *b == b'\n').next().unwrap_or_default();
            return Err(fault(&format!(
                "a script, run by {}: name the program that links libevent itself",
                String::from_utf8_lossy(line.trim_ascii())
            )));
        }
        if !bytes.starts_with(b"\x7fELF") {
            return Err(fault(
                &"neither a program nor a shared library (no ELF file)",
            ));
        }
        if bytes.get(4) != Some(&2) {
            return Err(fault(&"a 32-bit file: the library is a 64-bit one"));
        }
        parse(&bytes).map_err(|e| fault(&e))
    }

    /// Whether the library that was built beside this command can be loaded with it.
    pub(crate) fn fits_this_machine(&self, path: &Path) -> Result<(), String> {
        let ours = match std::env::consts::ARCH {
            "x86_64" => Architecture::X86_64,
            "aarch64" => Architecture::Aarch64,
            "riscv64" => Architecture::Riscv64,
            _ => return Ok(()),
        };
        if self.architecture == ours {
            return Ok(());
        }
        Err(format!(
            "{}: made for {:?}, the library for {ours:?}",
            path.display(),
            self.architecture
        ))
    }
}

fn parse(bytes: &[u8]) -> object::Result<Elf> {
    let file = ElfFile64::<'_, Endianness>::parse(bytes)?;
    let endian = file.endian();
    let header: &FileHeader64<Endianness> = file.elf_header();

    let mut interpreter = None;
    for segment in header.program_headers(endian, bytes)? {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            interpreter = Some(PathBuf::from(OsString::from_vec(path.to_vec())));
        }
    }

    let sections = header.sections(endian, bytes)?;
    let mut needed = Vec::new();
    if let Some((entries, link)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        for entry in entries
            .iter()
            .filter(|entry| entry.tag32(endian) == Some(DT_NEEDED))
        {
            needed.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
        }
    }

    let symbols = sections.symbols(endian, bytes, object::elf::SHT_DYNSYM)?;
    let versions = sections.versions(endian, bytes)?;
    let (mut defined, mut undefined) = (Vec::new(), Vec::new());
    for (index, symbol) in symbols.enumerate() {
        let name = symbols.symbol_name(endian, symbol)?;
        if name.is_empty() || symbol.st_bind() == STB_LOCAL {
            continue;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        if symbol.st_shndx(endian) != SHN_UNDEF {
            defined.push(name);
            continue;
        }
        let versioned = versions
            .as_ref()
            .is_some_and(|table| table.version_index(endian, index).index() > VER_NDX_GLOBAL);
        if !versioned && symbol.st_bind() != STB_WEAK {
            undefined.push(name);
        }
    }
    Ok(Elf {
        architecture: file.architecture(),
        interpreter,
        needed,
        defined,
        undefined,
    })
}
