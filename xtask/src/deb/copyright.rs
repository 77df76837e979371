//! The packages' copyright file, in Debian's machine-readable format: our own licences, and those
//! of the crates that are linked into the library and the command.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrevent_workbench::workspace_root;
use serde_json::Value;

/// What is in the packages.
const ROOTS: [&str; 2] = ["ferrevent-libevent", "ferrevent-cli"];

/// Licences whose text stands once for all. A crate that can be had under one of them is.
const SHARED: [&str; 2] = ["MIT", "Apache-2.0"];

/// The file.
pub(super) fn text() -> Result<String, String> {
    let root = workspace_root();
    let mit = fs::read_to_string(root.join("LICENSE-MIT")).map_err(|e| e.to_string())?;
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: ferrevent\n\
         Source: {}\n\
         Comment: The paragraphs after the first are about the crates (https://crates.io) whose code\n \
         is a part of the library or the command, and Rust's standard library.\n\n\
         Files: *\n\
         Copyright: {}\n\
         License: MIT or Apache-2.0\n\n",
        env!("CARGO_PKG_REPOSITORY"),
        statements(&mit).join("\n "),
    );
    for linked in linked()? {
        text.push_str(&linked.paragraph()?);
    }
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "Files: rust-library/*\n\
         Copyright: The Rust Project Developers, see https://thanks.rust-lang.org\n\
         License: MIT or Apache-2.0\n\
         Comment: rust-library-copyright.html has the notices of all its parts, where the\n \
         compiler that this package was built with brings them.\n\n\
         License: MIT\n{}\n\
         License: Apache-2.0\n \
         On Debian systems, the full text of the Apache License, version 2.0, is in\n \
         /usr/share/common-licenses/Apache-2.0.\n",
        indented(&terms(&mit)),
    );
    Ok(text)
}

/// The notices that come with the compiler for the library of its own.
pub(super) fn of_the_standard_library() -> Option<Vec<u8>> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .current_dir(workspace_root())
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    let folder = Path::new(sysroot.trim()).join("share/doc/rust");
    fs::read(folder.join("COPYRIGHT-library.html")).ok()
}

/// A crate that is not ours.
struct Linked {
    name: String,
    version: String,
    /// As its manifest has it, in SPDX.
    license: String,
    authors: Vec<String>,
    folder: PathBuf,
}

/// All of them. `cargo tree` knows what is linked, with the features that we use; `cargo metadata`
/// where it is.
fn linked() -> Result<Vec<Linked>, String> {
    let mut args = vec!["tree", "--locked", "--prefix", "none", "--format", "{p}"];
    args.extend(["--edges", "normal,no-proc-macro"]);
    args.extend(ROOTS.iter().flat_map(|root| ["--package", root]));
    let tree = cargo(&args)?;
    let wanted: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.trim_start_matches('v')))
        })
        .collect();

    // Without a platform, crates for others would be fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = cargo(&[
        "metadata",
        "--locked",
        "--format-version=1",
        "--filter-platform",
        &platform,
    ])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| format!("metadata: {e}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut linked: Vec<Linked> = packages
        .filter(|package| !package["source"].is_null())
        .map(Linked::new)
        .filter(|package| wanted.contains(&(package.name.as_str(), package.version.as_str())))
        .collect();
    linked.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(linked)
}

fn cargo(args: &[&str]) -> Result<String, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace_root())
        .args(args)
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo {}: {stderr}", args[0]));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Linked {
    fn new(package: &Value) -> Self {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_string();
        let authors = package["authors"].as_array().into_iter().flatten();
        let manifest = PathBuf::from(text("manifest_path"));
        Self {
            name: text("name"),
            version: text("version"),
            license: text("license"),
            authors: authors.filter_map(|a| Some(a.as_str()?.into())).collect(),
            folder: manifest.parent().unwrap_or(Path::new("")).to_path_buf(),
        }
    }

    fn paragraph(&self) -> Result<String, String> {
        let files = self.license_files()?;
        let mut holders: Vec<String> = Vec::new();
        for statement in files.iter().flat_map(|text| statements(text)) {
            if !holders.contains(&statement) {
                holders.push(statement);
            }
        }
        if holders.is_empty() {
            holders = self.authors.clone();
        }
        if holders.is_empty() {
            holders = vec![format!("The authors of {}", self.name)];
        }

        // `A OR B`, or as it was written once, `A/B`.
        let offered: Vec<&str> = self
            .license
            .split(" OR ")
            .flat_map(|one| one.split('/'))
            .collect();
        let taken: Vec<&str> = SHARED
            .into_iter()
            .filter(|one| offered.contains(one))
            .collect();
        let mut text = format!(
            "Files: {}-{}/*\nCopyright: {}\n",
            self.name,
            self.version,
            holders.join("\n ")
        );
        // Writing to a String does not fail.
        if !taken.is_empty() {
            let _ = writeln!(text, "License: {}", taken.join(" or "));
            if taken.len() < offered.len() {
                let _ = writeln!(text, "Comment: Offered under {}.", self.license);
            }
        } else {
            if files.is_empty() {
                return Err(format!("{} has no file with its licence", self.name));
            }
            let all: Vec<String> = files.iter().map(|text| terms(text)).collect();
            // Each has a text of its own, so the short name has to be one's own too.
            let short = self.license.replace(' ', "-");
            let _ = write!(
                text,
                "License: {short}-{}\n{}",
                self.name,
                indented(&all.join("\n\n"))
            );
        }
        text.push('\n');
        Ok(text)
    }

    /// The texts of the files beside the manifest that say who may do what.
    fn license_files(&self) -> Result<Vec<String>, String> {
        let fault = |e: std::io::Error| format!("{}: {e}", self.folder.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_name().unwrap_or_default().to_ascii_uppercase();
            let name = name.to_string_lossy();
            if ["LICEN", "COPY", "NOTICE"]
                .iter()
                .any(|p| name.starts_with(p))
            {
                paths.push(path);
            }
        }
        paths.sort();
        paths
            .iter()
            .map(|path| fs::read_to_string(path).map_err(fault))
            .collect()
    }
}

/// The lines of a licence that say whose it is, and not those of the licence itself.
fn statements(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| is_statement(line))
        .map(|line| {
            let line = line.trim_start_matches("Copyright").trim_start();
            line.trim_start_matches("(c)").trim_start().to_string()
        })
        .collect()
}

fn is_statement(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("Copyright ") else {
        return false;
    };
    // Apache's appendix shows how one is written: `[yyyy] [name of copyright owner]`.
    let named = rest.starts_with("(c) ") || rest.starts_with(|c: char| c.is_ascii_digit());
    named && !rest.contains('[')
}

/// A licence without its title and without whose it is.
fn terms(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !is_statement(line.trim()))
        .skip_while(|line| line.is_empty() || line.contains("License"))
        .collect();
    lines.join("\n").trim().to_string()
}

/// As the lines of a field that follow its first.
fn indented(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        out.push(' ');
        out.push_str(if line.is_empty() { "." } else { line });
        out.push('\n');
    }
    out
}
