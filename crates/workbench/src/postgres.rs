//! A PostgreSQL server with an empty database.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::{Folder, Server, run};

/// How long PostgreSQL may take for any one thing.
const LIMIT: Duration = Duration::from_secs(60);

/// A running PostgreSQL server, which only listens on a socket in its folder. Its only user is `postgres`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    socket: PathBuf,
    user: Option<(u32, u32)>,
    _folder: Folder,
}

impl Postgres {
    /// A part of the name of the socket: nothing listens on the network.
    pub const PORT: u16 = 5432;

    /// Makes an empty database and starts the server, of the newest version that is installed.
    pub fn start() -> Result<Self, String> {
        let folder = Folder::create()?;
        let user = match rustix::process::geteuid().is_root() {
            true => Some(nobody()?),
            false => None,
        };
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))
                .map_err(|e| format!("{}: {e}", folder.path().display()))?;
        }
        let socket = folder.path().to_path_buf();
        let data = folder.path().join("data");
        let programs = Self::programs()?;
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(&socket).arg("-D").arg(&data);
            command
        };
        let mut initdb = program("initdb");
        initdb.args(["--username=postgres", "--auth=trust"]);
        succeeded(initdb.args(["--no-locale", "--no-sync"]))?;
        let mut command = program("postgres");
        command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]);
        let mut server = Server::start(command.arg(&socket))?;
        server.wait_for_stderr("ready to accept connections", LIMIT)?;
        Ok(Self {
            server,
            socket,
            user,
            _folder: folder,
        })
    }

    /// The folder with its socket: clients name it as the host.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The ids of the user and the group that it runs as, when this process is root: PostgreSQL refuses to be root's.
    pub fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    /// Asks it one `query`; the answer is bare values.
    pub fn ask(&self, query: &str) -> Result<String, String> {
        let answer = succeeded(&mut Self::psql(
            &self.socket,
            Self::PORT,
            "postgres",
            query,
        )?)?;
        Ok(answer.trim_end().to_string())
    }

    /// A client that asks one `query` of a server, or of what stands before it, and prints bare values.
    pub fn psql(host: &Path, port: u16, database: &str, query: &str) -> Result<Command, String> {
        let mut command = Command::new(Self::programs()?.join("psql"));
        command.arg("-h").arg(host).args(["-p", &port.to_string()]);
        command.args(["-X", "-A", "-t", "-U", "postgres", "-d", database]);
        command.args(["-c", query]);
        Ok(command)
    }

    /// Where Debian puts the programs of the newest PostgreSQL that is installed.
    pub fn programs() -> Result<PathBuf, String> {
        const VERSIONS: &str = "/usr/lib/postgresql";
        let fault = |e: &dyn std::fmt::Display| format!("{VERSIONS}: {e}");
        let versions = fs::read_dir(VERSIONS).map_err(|e| fault(&e))?;
        let newest = versions
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join("bin/initdb").exists())
            .max_by_key(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.parse::<u32>().unwrap_or(0)
            });
        let newest = newest.ok_or_else(|| fault(&"no server in it"))?;
        Ok(newest.join("bin"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave its shared memory behind.
        let stopped = self
            .server
            .signal(Signal::INT)
            .and_then(|()| self.server.wait(LIMIT));
        if let Err(e) = stopped {
            eprintln!("postgres: {e}");
        }
    }
}

/// Runs `command` to its end and returns what it printed.
fn succeeded(command: &mut Command) -> Result<String, String> {
    let output = run(command, LIMIT)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{stderr}", output.status))
}

/// The ids of the user `nobody` and of its group.
fn nobody() -> Result<(u32, u32), String> {
    const USERS: &str = "/etc/passwd";
    let users = fs::read_to_string(USERS).map_err(|e| format!("{USERS}: {e}"))?;
    let line = users.lines().find_map(|line| line.strip_prefix("nobody:"));
    let mut ids = line
        .unwrap_or_default()
        .split(':')
        .skip(1)
        .map(|id| id.parse().ok());
    match (ids.next().flatten(), ids.next().flatten()) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(format!("{USERS}: no user nobody")),
    }
}
