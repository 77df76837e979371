//! The packages for Debian: what is in them, and the command and the library as they are installed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use ferrevent_workbench::{
    Folder, LIB_DIR_VARIABLE, SONAMES, compile_c, library, run, workspace_root,
};

/// Building what builds the packages is the longest.
const LIMIT: Duration = Duration::from_secs(300);

/// Both packages.
struct Packages {
    main: PathBuf,
    default: PathBuf,
}

/// Built once for all tests. None, with a line that says so, where there is no dpkg.
fn packages() -> Option<&'static Packages> {
    static PACKAGES: OnceLock<Packages> = OnceLock::new();
    if fs::exists("/usr/bin/dpkg-deb").unwrap() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deb");
        return Some(PACKAGES.get_or_init(|| Packages::build(&folder)));
    }
    println!("skipped: there is no dpkg-deb here");
    None
}

impl Packages {
    /// Of the library that all tests use, and the command that this one is about.
    fn build(folder: &Path) -> Self {
        let mut xtask = Command::new(env!("CARGO"));
        xtask
            .current_dir(workspace_root())
            .args(["run", "--quiet", "--package", "xtask", "--", "deb"])
            .args(["--command", env!("CARGO_BIN_EXE_ferrevent"), "--out"])
            .arg(folder)
            .env(LIB_DIR_VARIABLE, library().unwrap())
            .env("SOURCE_DATE_EPOCH", "1700000000");
        let paths: Vec<PathBuf> = output(&mut xtask).lines().map(PathBuf::from).collect();
        let [main, default] = paths.as_slice() else {
            panic!("{paths:?}");
        };
        Self {
            main: main.clone(),
            default: default.clone(),
        }
    }

    fn both(&self) -> [&Path; 2] {
        [&self.main, &self.default]
    }
}

#[test]
fn the_packages_have_what_they_should() {
    let Some(packages) = packages() else { return };
    let libraries = libraries();
    let main = contents(&packages.main);
    for name in SONAMES {
        assert_has(&main, &format!("{libraries}/ferrevent/{name}"));
    }
    for path in [
        "usr/bin/ferrevent",
        "usr/include/event2/ferrevent.h",
        "usr/share/doc/ferrevent/changelog.Debian.gz",
        "usr/share/doc/ferrevent/copyright",
        "usr/share/man/man1/ferrevent.1.gz",
    ] {
        assert_has(&main, path);
    }
    let default = contents(&packages.default);
    assert_has(&default, &format!("{libraries}/ferrevent-default"));

    // Nothing outside of what is ours, and all of it root's.
    for line in main.iter().chain(&default) {
        assert!(line.contains(" root/root "), "{line}");
        let ours = line.contains("ferrevent") || line.ends_with('/');
        assert!(ours, "{line}");
        assert!(
            line.contains(" 2023-11-14 "),
            "not SOURCE_DATE_EPOCH: {line}"
        );
    }
    // The same again gives the same bytes.
    let folder = Folder::create().unwrap();
    let again = Packages::build(folder.path());
    for (one, other) in packages.both().into_iter().zip(again.both()) {
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{one:?}"
        );
    }
}

#[test]
fn the_packages_say_what_they_need() {
    let Some(packages) = packages() else { return };
    let depends = field(&packages.main, "Depends");
    assert!(depends.starts_with("libc6 (>= 2."), "{depends}");
    assert!(depends.contains("libgcc-s1"), "{depends}");
    // Only who has TLS needs OpenSSL.
    assert!(!depends.contains("ssl"), "{depends}");
    assert!(field(&packages.main, "Suggests").contains("libssl3"));

    let version = field(&packages.main, "Version");
    let wanted = format!("ferrevent (= {version})");
    assert_eq!(field(&packages.default, "Depends"), wanted);
    let folder = Folder::create().unwrap();
    let folder = folder.path().join("control");
    output(
        Command::new("dpkg-deb")
            .arg("-e")
            .args([&packages.default, &folder]),
    );
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("triggers").trim(), "activate-noawait ldconfig");
    assert!(read("conffiles").starts_with("/etc/ld.so.conf.d/"));
}

#[test]
fn the_copyright_file_names_every_crate_that_is_linked() {
    let Some(packages) = packages() else { return };
    let folder = Folder::create().unwrap();
    let root = folder.path().join("root");
    unpack(&packages.main, &root);
    let text = fs::read_to_string(root.join("usr/share/doc/ferrevent/copyright")).unwrap();
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    for name in [
        "bytes",
        "clap_builder",
        "domain",
        "libc",
        "rustix",
        "slotmap",
    ] {
        let start = format!("Files: {name}-");
        let of_this = paragraphs.iter().find(|p| p.starts_with(&start));
        let of_this = of_this.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        for field in ["\nCopyright: ", "\nLicense: "] {
            assert!(of_this.contains(field), "{of_this}");
        }
    }
    // What only tests and builds use is in no package.
    for name in ["proptest", "syn", "clap_derive", "rustls"] {
        assert!(!text.contains(&format!("Files: {name}-")), "{name}");
    }
    for license in ["\nLicense: MIT\n Permission", "\nLicense: Apache-2.0\n"] {
        assert!(text.contains(license), "{text}");
    }
}

#[test]
fn the_command_finds_the_library_that_is_installed_with_it() {
    let Some(packages) = packages() else { return };
    let folder = Folder::create().unwrap();
    let root = folder.path().join("root");
    unpack(&packages.main, &root);
    let program = program(folder.path());
    let ferrevent = |args: &[&str]| {
        let mut command = Command::new(root.join("usr/bin/ferrevent"));
        command.args(args).arg(&program);
        command.env_remove(LIB_DIR_VARIABLE);
        command.env_remove("LD_LIBRARY_PATH");
        let output = run(&mut command, LIMIT).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{}", text(output.stderr));
        (text(output.stdout), text(output.stderr))
    };

    let (checked, _) = ferrevent(&["check"]);
    assert!(checked.contains("all there"), "{checked}");

    let (mapped, said) = ferrevent(&["run", "--"]);
    let installed = root.join(libraries()).join("ferrevent").join(SONAMES[0]);
    let installed = fs::canonicalize(installed).unwrap();
    assert_eq!(mapped.trim(), installed.to_str().unwrap());
    assert!(said.contains(installed.to_str().unwrap()), "{said}");
}

/// With a system of its own that dpkg installs them into, which only root may have.
#[test]
fn programs_find_the_library_as_long_as_it_is_the_default() {
    let Some(packages) = packages() else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: dpkg and ldconfig work on a folder as root only");
        return;
    }
    let folder = Folder::create().unwrap();
    let system = System::create(&folder);
    let libevent = format!("/{}/{}", libraries(), SONAMES[0]);
    assert_eq!(system.found(), libevent);

    system.dpkg(&["--install"], &packages.both());
    assert_eq!(
        system.found(),
        format!("/{}/ferrevent-default/{}", libraries(), SONAMES[0])
    );

    // The configuration file stays, as such files do, and has no effect.
    let configuration = system.root.join(format!(
        "etc/ld.so.conf.d/00-ferrevent-default-{}.conf",
        libraries().trim_start_matches("usr/lib/")
    ));
    system.dpkg(&["--remove", "ferrevent-default"], &[]);
    assert!(configuration.exists());
    assert_eq!(system.found(), libevent);

    system.dpkg(&["--purge", "ferrevent-default", "ferrevent"], &[]);
    assert!(!configuration.exists());
    assert_eq!(system.found(), libevent);
    let left = output(
        Command::new("find")
            .arg(&system.root)
            .args(["-name", "*ferrevent*"]),
    );
    // dpkg keeps the lists of what it once knew.
    let left: Vec<&str> = left
        .lines()
        .filter(|l| !l.contains("/var/lib/dpkg/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A folder that dpkg and ldconfig take for the root of a system, with a libevent in it.
struct System {
    root: PathBuf,
}

impl System {
    fn create(folder: &Folder) -> Self {
        let root = folder.path().join("system");
        for path in ["info", "updates", "triggers"] {
            fs::create_dir_all(root.join("var/lib/dpkg").join(path)).unwrap();
        }
        for name in ["status", "available"] {
            fs::write(root.join("var/lib/dpkg").join(name), "").unwrap();
        }
        // As Debian has them.
        fs::create_dir_all(root.join("etc/ld.so.conf.d")).unwrap();
        let files = [
            ("ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n".into()),
            ("ld.so.conf.d/libc.conf", "/usr/local/lib\n".into()),
            (
                &*format!(
                    "ld.so.conf.d/{}.conf",
                    libraries().trim_start_matches("usr/lib/")
                ),
                format!("/{}\n", libraries()),
            ),
        ];
        for (name, text) in files {
            fs::write(root.join("etc").join(name), text).unwrap();
        }
        let own = root.join(libraries());
        fs::create_dir_all(&own).unwrap();
        // Any library of that name will do: it is only looked for.
        fs::copy(library().unwrap().join(SONAMES[0]), own.join(SONAMES[0])).unwrap();
        Self { root }
    }

    fn dpkg(&self, args: &[&str], files: &[&Path]) {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.root.display()));
        // What they depend on is not in there.
        dpkg.arg("--force-depends").args(args).args(files);
        // It insists on finding ldconfig, which is not in everybody's path.
        dpkg.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        output(&mut dpkg);
    }

    /// The file that the loader of that system takes, once its cache is made anew.
    fn found(&self) -> String {
        let ldconfig = |args: &[&str]| {
            let mut ldconfig = Command::new("/sbin/ldconfig");
            output(ldconfig.arg("-r").arg(&self.root).args(args))
        };
        ldconfig(&[]);
        let cache = ldconfig(&["-p"]);
        let line = cache
            .lines()
            .find(|line| line.trim().starts_with(SONAMES[0]));
        let line = line.unwrap_or_else(|| panic!("no {} in\n{cache}", SONAMES[0]));
        line.split(" => ").nth(1).unwrap().trim().into()
    }
}

/// A program that prints which libevent it has mapped.
fn program(folder: &Path) -> PathBuf {
    let source = folder.join("mapped.c");
    let text = r#"
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    char line[4096], last[4096] = "";
    struct event_base *base = event_base_new();
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');
        if (path && strstr(path, "/libevent") && strcmp(path, last))
            fputs(strcpy(last, path), stdout);
    }
    event_base_free(base);
    return 0;
}
"#;
    fs::write(&source, text).unwrap();
    let program = folder.join("mapped");
    compile_c(&[source], &program, &["event"]).unwrap();
    program
}

/// The folder of this architecture's libraries.
fn libraries() -> String {
    format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)
}

fn unpack(package: &Path, root: &Path) {
    output(Command::new("dpkg-deb").arg("-x").args([package, root]));
}

/// The lines of `dpkg-deb --contents`.
fn contents(package: &Path) -> Vec<String> {
    let text = output(Command::new("dpkg-deb").arg("--contents").arg(package));
    text.lines().map(String::from).collect()
}

fn assert_has(contents: &[String], path: &str) {
    let path = format!(" ./{path}");
    let found = |line: &String| line.split(" -> ").next().unwrap().ends_with(&path);
    assert!(contents.iter().any(found), "no {path} in {contents:#?}");
}

fn field(package: &Path, name: &str) -> String {
    let mut dpkg = Command::new("dpkg-deb");
    output(dpkg.arg("--field").arg(package).arg(name))
        .trim()
        .into()
}

/// What `command` writes; it must succeed.
fn output(command: &mut Command) -> String {
    let output = run(command, LIMIT).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
