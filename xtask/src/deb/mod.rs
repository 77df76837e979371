//! `cargo xtask deb`: packages for Debian.
//!
//! `ferrevent` has the command, and the library in a folder where only the command looks.
//! `ferrevent-default` makes all programs of the system find it there, in the way that the loader is
//! meant to be told: a file in `/etc/ld.so.conf.d` whose folder comes before libevent's. No file of
//! libevent's packages is touched, so their updates go on beside it, and nothing is run but
//! `ldconfig`, by the trigger that libraries' packages use.
//!
//! `dpkg-deb` writes the packages; what stands in its manuals (deb(5), deb-control(5)) and in
//! Debian's policy is not explained again here.

mod control;
mod copyright;
mod date;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrevent_workbench::{SONAMES, library, target_dir, workspace_root};

use control::{Control, Linked};
use tree::Tree;

/// The library's package, whose folder has the same name.
const MAIN: &str = "ferrevent";
const DEFAULT: &str = "ferrevent-default";

const MAIN_DESCRIPTION: &str = "\
libevent programs on a library written in Rust
 Ferrevent takes the place of libevent 2.1 in programs that are built for it,
 without changing them: the event loop, buffers, bufferevents, DNS and HTTP,
 from one core that is written in safe Rust.
 .
 This package has the library, in a folder of its own, and the command
 ferrevent, which runs single programs on it. All other programs stay on
 libevent; the package ferrevent-default changes that.";

const DEFAULT_DESCRIPTION: &str = "\
make ferrevent the libevent of all programs
 Ferrevent takes the place of libevent 2.1 in programs that are built for it,
 without changing them.
 .
 While this package is installed, every program that is started and links
 libevent 2.1 runs on ferrevent. The packages of libevent stay as they are,
 and once this package is removed programs run on them again. Programs that
 run already keep what they have until they are restarted: the command
 \"ferrevent status\" names them.";

/// What lintian finds and is meant to be so.
const MAIN_OVERRIDES: &str = "\
# Three of the siblings hold no code: they bring in the library that stands beside them. The fourth
# one hands over OpenSSL's functions, and calls nothing else.
ferrevent: library-not-linked-against-libc [usr/lib/*/ferrevent/libevent_*]
# Not made for Debian's archive.
ferrevent: initial-upload-closes-no-bugs [*]
";

const DEFAULT_OVERRIDES: &str = "\
# That is what this package is for.
ferrevent-default: package-modifies-ld.so-search-path [etc/ld.so.conf.d/*]
# It has no library, but it decides which ones the loader's cache names.
ferrevent-default: package-has-unnecessary-activation-of-ldconfig-trigger
";

/// What `cargo xtask deb` can be told.
#[derive(Default)]
struct Options {
    /// The command, if it is built already.
    command: Option<PathBuf>,
    /// Where the packages go.
    out: Option<PathBuf>,
}

/// Builds what is to be built, and writes both packages. Prints their paths.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let options = Options::parse(args)?;
    let library = library()?;
    let command = options.command.map_or_else(build_command, Ok)?;
    let target = target_dir()?;
    let out = options.out.unwrap_or_else(|| target.join("deb"));
    fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;

    // All times in the packages, and the day of the changelog.
    let epoch = date::source_date_epoch()?;
    let (architecture, folder) = machine()?;
    for tree in [
        main_package(&library, &command, architecture, &folder, epoch)?,
        default_package(architecture, &folder)?,
    ] {
        println!("{}", tree.pack(&out, epoch)?.display());
    }
    Ok(())
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        for pair in args.chunks(2) {
            match pair {
                ["--command", path] => options.command = Some(path.into()),
                ["--out", path] => options.out = Some(path.into()),
                _ => return Err(format!("cargo xtask deb: {}?", pair.join(" "))),
            }
        }
        Ok(options)
    }
}

fn build_command() -> Result<PathBuf, String> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace_root())
        .args(["build", "--release", "--package", "ferrevent-cli"])
        .status()
        .map_err(|e| format!("cargo build: {e}"))?;
    if !status.success() {
        return Err("the command ferrevent does not build".into());
    }
    Ok(target_dir()?.join("release/ferrevent"))
}

/// Debian's name of the architecture that all is built for, and the folder of its libraries.
fn machine() -> Result<(&'static str, String), String> {
    let arch = std::env::consts::ARCH;
    let debians = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(format!("Debian's name for {other} is not known here")),
    };
    Ok((debians, format!("usr/lib/{arch}-linux-gnu")))
}

fn main_package(
    library: &Path,
    command: &Path,
    architecture: &'static str,
    folder: &str,
    epoch: u64,
) -> Result<Tree, String> {
    let root = workspace_root();
    let doc = "usr/share/doc/ferrevent";
    let mut tree = Tree::new(MAIN)?;
    tree.program(command, "usr/bin/ferrevent")?;
    let mut linked = Linked::default();
    linked.add(&tree.path("usr/bin/ferrevent"))?;
    for name in SONAMES {
        let path = format!("{folder}/{MAIN}/{name}");
        tree.library(&library.join(name), &path)?;
        linked.add(&tree.path(&path))?;
    }
    tree.file(
        &root.join("crates/capi/include/event2/ferrevent.h"),
        "usr/include/event2/ferrevent.h",
    )?;
    tree.packed(
        &fs::read(root.join("crates/cli/ferrevent.1")).map_err(|e| format!("ferrevent.1: {e}"))?,
        "usr/share/man/man1/ferrevent.1.gz",
    )?;
    for (from, to) in [
        ("CHANGELOG.md", "changelog.gz"),
        ("COMPATIBILITY.md", "COMPATIBILITY.md.gz"),
        ("docs/c-library.md", "c-library.md.gz"),
    ] {
        let text = fs::read(root.join(from)).map_err(|e| format!("{from}: {e}"))?;
        tree.packed(&text, &format!("{doc}/{to}"))?;
    }
    tree.packed(
        control::changelog(epoch)?.as_bytes(),
        &format!("{doc}/changelog.Debian.gz"),
    )?;
    tree.text(&copyright::text()?, &format!("{doc}/copyright"))?;
    tree.text(MAIN_OVERRIDES, &overrides(MAIN))?;
    if let Some(notices) = copyright::of_the_standard_library() {
        tree.packed(&notices, &format!("{doc}/rust-library-copyright.html.gz"))?;
    }
    tree.control(&Control {
        package: MAIN,
        architecture,
        section: "libs",
        relations: vec![
            ("Depends", linked.depends()?),
            // Only programs with TLS load the sibling that needs OpenSSL, and they link OpenSSL
            // themselves: their own packages bring it.
            ("Suggests", format!("{DEFAULT}, {}", linked.suggests())),
        ],
        // No `Multi-Arch`: what depends on this package means the library, thus one of its own
        // architecture, and the command stands in the same place for all of them.
        description: MAIN_DESCRIPTION,
    })?;
    Ok(tree)
}

/// What this package has is a link and a line that names it. The line is a configuration file,
/// which stays when the package is removed but not purged; the link does not, and without it the
/// loader finds nothing there.
fn default_package(architecture: &'static str, folder: &str) -> Result<Tree, String> {
    let triplet = folder.trim_start_matches("usr/lib/");
    // Before Debian's x86_64-linux-gnu.conf, whatever the locale sorts by.
    let configuration = format!("etc/ld.so.conf.d/00-{DEFAULT}-{triplet}.conf");
    let link = format!("{folder}/{DEFAULT}");
    let mut tree = Tree::new(DEFAULT)?;
    tree.link(MAIN, &link)?;
    tree.text(
        &format!("# Every libevent program runs on ferrevent: see ferrevent(1).\n/{link}\n"),
        &configuration,
    )?;
    tree.link(MAIN, &format!("usr/share/doc/{DEFAULT}"))?;
    tree.text(DEFAULT_OVERRIDES, &overrides(DEFAULT))?;
    tree.meta("conffiles", &format!("/{configuration}\n"))?;
    tree.meta("triggers", "activate-noawait ldconfig\n")?;
    tree.control(&Control {
        package: DEFAULT,
        architecture,
        section: "libs",
        relations: vec![("Depends", format!("{MAIN} (= {})", control::VERSION))],
        description: DEFAULT_DESCRIPTION,
    })?;
    Ok(tree)
}

fn overrides(package: &str) -> String {
    format!("usr/share/lintian/overrides/{package}")
}
