//! Debian's pgbouncer, in front of a PostgreSQL server of its own, on our library.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library};
use rustix::process::Signal;

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

const CLIENTS: usize = 50;
const TRANSACTIONS: usize = 1_000;
/// Server connections that the clients share.
const POOL: usize = 10;

#[test]
#[ignore = "slow: starts PostgreSQL"]
fn pgbouncer_pools_a_thousand_transactions() {
    if !installed(&["pgbouncer", "postgresql"]) {
        return;
    }
    let library = library().unwrap();
    let postgres = Postgres::start();
    let mut pgbouncer = first_success(|| Pgbouncer::start(&library, &postgres));
    assert_runs_on(&library, pgbouncer.server.pid());

    // What the transactions of pgbench leave behind adds up.
    pgbouncer.bench(&["-i", "-q"]);
    let clients = CLIENTS.to_string();
    let each = (TRANSACTIONS / CLIENTS).to_string();
    let all_processed = format!("actually processed: {TRANSACTIONS}/{TRANSACTIONS}\n");
    let report = pgbouncer.bench(&["-n", "-c", &clients, "-t", &each]);
    assert!(report.contains(&all_processed), "{report}");
    let sums = pgbouncer.ask(
        "bank",
        "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts), \
         sum(delta) = (select sum(bbalance) from pgbench_branches), \
         sum(delta) = (select sum(tbalance) from pgbench_tellers) from pgbench_history",
    );
    assert_eq!(sums, format!("{TRANSACTIONS}|t|t|t"));
    // The same with a new connection for each transaction.
    let report = pgbouncer.bench(&["-n", "-S", "-C", "-c", &clients, "-t", &each]);
    assert!(report.contains(&all_processed), "{report}");
    // Fifty clients, ten connections.
    let connections = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                       and pid <> pg_backend_pid()";
    let connections: usize = postgres.ask(connections).parse().unwrap();
    assert!((2..=POOL).contains(&connections), "{connections}");

    // More than fits into any socket.
    let rows = pgbouncer.ask(
        "bank",
        "select n || ':' || repeat('x', 1000) from generate_series(1, 20000) n",
    );
    let expected = (1..=20_000)
        .map(|n| format!("{n}:{}", "x".repeat(1_000)))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(rows == expected, "20,000 rows came back changed");

    pgbouncer.reload_by_command(&postgres);
    pgbouncer.reload_by_signal(&postgres);
    pgbouncer.shut_down_while_busy(&postgres);
}

struct Pgbouncer {
    server: Server,
    port: u16,
    config: PathBuf,
    _folder: Folder,
}

impl Pgbouncer {
    fn start(library: &Path, postgres: &Postgres) -> Result<Self, String> {
        let folder = Folder::create()?;
        let port = free_port()?;
        let config = folder.path().join("pgbouncer.ini");
        write_config(&config, postgres, port, &["bank"], POOL);
        if let Some((uid, gid)) = postgres.user {
            chown(folder.path(), Some(uid), Some(gid)).map_err(|e| e.to_string())?;
        }
        let mut command = ferrevent_run("pgbouncer", library);
        let mut server = Server::start(command.arg(&config))?;
        server
            .wait_for_stderr("process up: ", LIMIT)
            .map_err(|e| format!("pgbouncer: {e}"))?;
        Ok(Self {
            server,
            port,
            config,
            _folder: folder,
        })
    }

    /// What a reload adds, by its console.
    fn reload_by_command(&self, postgres: &Postgres) {
        write_config(&self.config, postgres, self.port, &["bank", "till"], POOL);
        self.ask("pgbouncer", "RELOAD");
        let count = self.ask("till", "select count(*) from pgbench_history");
        assert_eq!(count, TRANSACTIONS.to_string());
    }

    /// What a reload changes, by a signal.
    fn reload_by_signal(&mut self, postgres: &Postgres) {
        let pool = |pgbouncer: &Self| {
            let databases = pgbouncer.ask("pgbouncer", "SHOW DATABASES");
            let bank = databases.lines().find(|line| line.starts_with("bank|"));
            bank.unwrap().split('|').nth(5).unwrap().to_string()
        };
        assert_eq!(pool(self), POOL.to_string());
        let smaller = POOL / 2;
        write_config(&self.config, postgres, self.port, &["bank"], smaller);
        self.server.signal(Signal::HUP).unwrap();
        self.server.wait_for_stderr("got SIGHUP", LIMIT).unwrap();
        assert_eq!(pool(self), smaller.to_string());
    }

    /// It lets the running transaction end, and then ends by itself.
    fn shut_down_while_busy(&mut self, postgres: &Postgres) {
        let locks = |granted: &str| {
            format!("select count(*) from pg_locks where locktype = 'advisory' and {granted}")
        };
        let mut holder = Server::start(&mut psql(
            &postgres.socket,
            Postgres::PORT,
            "postgres",
            "select pg_advisory_lock(1), pg_sleep(600)",
        ))
        .unwrap();
        postgres.wait_for(&locks("granted"), "1");
        let mut waiter = Server::start(&mut psql(
            Path::new("127.0.0.1"),
            self.port,
            "bank",
            "select 'done' || pg_advisory_xact_lock(1)",
        ))
        .unwrap();
        postgres.wait_for(&locks("not granted"), "1");

        self.server.signal(Signal::INT).unwrap();
        self.server.wait_for_stderr("got SIGINT", LIMIT).unwrap();
        postgres.ask(
            "select pg_terminate_backend(pid) from pg_locks \
             where locktype = 'advisory' and granted",
        );
        assert_eq!(waiter.line(LIMIT).unwrap(), "done");
        assert!(waiter.wait(LIMIT).unwrap().success());
        let status = self.server.wait(LIMIT).unwrap();
        assert!(status.success(), "{status}: {}", self.server.stderr());
        holder.wait(LIMIT).unwrap();
    }

    fn ask(&self, database: &str, query: &str) -> String {
        let answer = output_of(&mut psql(
            Path::new("127.0.0.1"),
            self.port,
            database,
            query,
        ));
        answer.trim_end().to_string()
    }

    fn bench(&self, args: &[&str]) -> String {
        let mut pgbench = Command::new(postgres_programs().join("pgbench"));
        pgbench.args(["-h", "127.0.0.1", "-U", "postgres", "-p"]);
        pgbench.arg(self.port.to_string());
        output_of(pgbench.args(args).arg("bank"))
    }
}

fn write_config(path: &Path, postgres: &Postgres, port: u16, databases: &[&str], pool: usize) {
    let mut text = String::from("[databases]\n");
    for name in databases {
        text.push_str(&format!(
            "{name} = host={} port={} dbname=postgres user=postgres pool_size={pool}\n",
            postgres.socket.display(),
            Postgres::PORT
        ));
    }
    text.push_str(&format!(
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\nadmin_users = postgres\npool_mode = transaction\n"
    ));
    // It refuses to stay root.
    if postgres.user.is_some() {
        text.push_str("user = nobody\n");
    }
    fs::write(path, text).unwrap();
    if let Some((uid, gid)) = postgres.user {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// A PostgreSQL server with an empty database, which only listens on a socket in its folder.
struct Postgres {
    server: Server,
    socket: PathBuf,
    /// Whose it is, when this process is root: PostgreSQL refuses to be root's.
    user: Option<(u32, u32)>,
    _folder: Folder,
}

impl Postgres {
    /// A part of the name of the socket: nothing listens on the network.
    const PORT: u16 = 5432;

    fn start() -> Self {
        let folder = Folder::create().unwrap();
        let user = rustix::process::geteuid().is_root().then(nobody);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let socket = folder.path().to_path_buf();
        let data = folder.path().join("data");
        let program = |name: &str| {
            let mut command = Command::new(postgres_programs().join(name));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(&socket).arg("-D").arg(&data);
            command
        };
        output_of(program("initdb").args([
            "--username=postgres",
            "--auth=trust",
            "--no-locale",
            "--no-sync",
        ]));
        let mut command = program("postgres");
        command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]);
        let mut server = Server::start(command.arg(&socket)).unwrap();
        server
            .wait_for_stderr("ready to accept connections", LIMIT)
            .unwrap();
        Self {
            server,
            socket,
            user,
            _folder: folder,
        }
    }

    /// Asks it past pgbouncer.
    fn ask(&self, query: &str) -> String {
        let answer = output_of(&mut psql(&self.socket, Self::PORT, "postgres", query));
        answer.trim_end().to_string()
    }

    fn wait_for(&self, query: &str, expected: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.ask(query);
            if answer == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{query}: {answer} for too long");
            thread::sleep(Duration::from_millis(20));
        }
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

/// A client that asks one `query` and prints bare values.
fn psql(host: &Path, port: u16, database: &str, query: &str) -> Command {
    let mut command = Command::new(postgres_programs().join("psql"));
    command.arg("-h").arg(host).args(["-p", &port.to_string()]);
    command.args(["-X", "-A", "-t", "-U", "postgres", "-d", database]);
    command.args(["-c", query]);
    command
}

/// Where Debian puts the programs of the newest PostgreSQL that is installed.
fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
    let newest = versions
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.parse::<u32>().unwrap_or(0)
        });
    newest.unwrap().join("bin")
}

/// The ids of the user `nobody` and of its group.
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find_map(|line| line.strip_prefix("nobody:"));
    let mut ids = line.unwrap().split(':').skip(1).take(2);
    let mut id = || ids.next().unwrap().parse().unwrap();
    (id(), id())
}
