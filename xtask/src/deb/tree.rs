//! The files of a package, laid out as `dpkg-deb` wants them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ferrevent_workbench::{Folder, run, run_with_input};

use super::control::{Control, VERSION};

const LIMIT: Duration = Duration::from_secs(120);

/// A folder that becomes a package. All is written anew into it: `dpkg-deb` takes later times than
/// `SOURCE_DATE_EPOCH` back to that.
pub(super) struct Tree {
    folder: Folder,
    name: String,
    /// In the order in which they came.
    files: Vec<String>,
}

impl Tree {
    pub(super) fn new(package: &str) -> Result<Self, String> {
        let tree = Self {
            folder: Folder::create()?,
            name: package.into(),
            files: Vec::new(),
        };
        // The folder for temporary files may be private, the root of a package is not.
        set_mode(tree.folder.path(), 0o755)?;
        tree.parents("DEBIAN/control")?;
        Ok(tree)
    }

    /// Where `path` of the package is now.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Adds a program, without what only debuggers need.
    pub(super) fn program(&mut self, from: &Path, path: &str) -> Result<(), String> {
        self.stripped(from, path, 0o755)
    }

    /// Adds a shared library in the same way. Nobody runs it, so it is not executable.
    pub(super) fn library(&mut self, from: &Path, path: &str) -> Result<(), String> {
        self.stripped(from, path, 0o644)
    }

    /// Adds a copy of a file.
    pub(super) fn file(&mut self, from: &Path, path: &str) -> Result<(), String> {
        let bytes = fs::read(from).map_err(|e| format!("{}: {e}", from.display()))?;
        self.write(&bytes, path, 0o644)
    }

    /// Adds a file that holds `text`.
    pub(super) fn text(&mut self, text: &str, path: &str) -> Result<(), String> {
        self.write(text.as_bytes(), path, 0o644)
    }

    /// Adds a file that holds `bytes` compressed, without a name or a time.
    pub(super) fn packed(&mut self, bytes: &[u8], path: &str) -> Result<(), String> {
        let mut gzip = Command::new("gzip");
        let output = run_with_input(gzip.arg("-9nc"), bytes.to_vec(), LIMIT)?;
        if !output.status.success() {
            return Err(format!("gzip: {}", output.status));
        }
        self.write(&output.stdout, path, 0o644)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, to: &str, path: &str) -> Result<(), String> {
        self.parents(path)?;
        symlink(to, self.path(path)).map_err(|e| format!("{path}: {e}"))
    }

    /// Adds a file for dpkg itself, beside the control file.
    pub(super) fn meta(&mut self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path("DEBIAN").join(name);
        fs::write(&path, text).map_err(|e| format!("{name}: {e}"))?;
        set_mode(&path, 0o644)
    }

    /// Adds the control file and the checksums: what comes last.
    pub(super) fn control(&mut self, control: &Control) -> Result<(), String> {
        let size = self.kib(self.folder.path())?;
        self.meta("control", &control.text(size))?;
        self.files.sort();
        let mut md5sum = Command::new("md5sum");
        md5sum.current_dir(self.folder.path()).args(&self.files);
        let sums = finish(&mut md5sum)?;
        self.meta("md5sums", &sums)
    }

    /// Writes the package into `out` and returns its path.
    pub(super) fn pack(&self, out: &Path, epoch: u64) -> Result<PathBuf, String> {
        let (architecture, _) = super::machine()?;
        let package = out.join(format!("{}_{VERSION}_{architecture}.deb", self.name));
        finish(
            Command::new("dpkg-deb")
                .env("SOURCE_DATE_EPOCH", epoch.to_string())
                // Several threads cut the data into other blocks than one does.
                .env("DPKG_DEB_THREADS_MAX", "1")
                .args(["--root-owner-group", "--build"])
                .args([self.folder.path(), &package])
                .stdout(Stdio::null()),
        )?;
        Ok(package)
    }

    fn stripped(&mut self, from: &Path, path: &str, mode: u32) -> Result<(), String> {
        self.file(from, path)?;
        // As dh_strip does it.
        let sections = ["--remove-section=.comment", "--remove-section=.note"];
        let mut strip = Command::new("strip");
        strip.arg("--strip-unneeded").args(sections);
        finish(strip.arg(self.path(path)))?;
        set_mode(&self.path(path), mode)
    }

    fn write(&mut self, bytes: &[u8], path: &str, mode: u32) -> Result<(), String> {
        self.parents(path)?;
        let full = self.path(path);
        fs::write(&full, bytes).map_err(|e| format!("{path}: {e}"))?;
        self.files.push(path.into());
        set_mode(&full, mode)
    }

    /// Makes the folders above `path`, whatever the umask says.
    fn parents(&self, path: &str) -> Result<(), String> {
        let mut folder = self.folder.path().to_path_buf();
        let above = Path::new(path).parent().unwrap_or(Path::new(""));
        for name in above {
            folder.push(name);
            if !folder.is_dir() {
                fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
                set_mode(&folder, 0o755)?;
            }
        }
        Ok(())
    }

    /// What is installed takes, as Debian counts it: files in whole KiB, all else 1.
    fn kib(&self, folder: &Path) -> Result<u64, String> {
        let fault = |e: std::io::Error| format!("{}: {e}", folder.display());
        let mut size = 1;
        for entry in fs::read_dir(folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let data = entry.metadata().map_err(fault)?;
            if entry.file_name() == "DEBIAN" {
                continue;
            }
            size += if data.is_dir() {
                self.kib(&entry.path())?
            } else if data.is_file() {
                data.len().div_ceil(1024)
            } else {
                1
            };
        }
        Ok(size)
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs `command` to its end, and returns what it wrote.
fn finish(command: &mut Command) -> Result<String, String> {
    let output = run(command, LIMIT)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{}: {}",
        command.get_program().to_string_lossy(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}
