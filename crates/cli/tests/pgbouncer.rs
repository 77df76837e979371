//! Debian's pgbouncer, in front of a PostgreSQL server of its own, on our library.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Postgres, Server, free_port, library};
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
    let postgres = Postgres::start().unwrap();
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
    let connections: usize = postgres.ask(connections).unwrap().parse().unwrap();
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
        if let Some((uid, gid)) = postgres.user() {
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
        let mut holder = Server::start(
            &mut Postgres::psql(
                postgres.socket(),
                Postgres::PORT,
                "postgres",
                "select pg_advisory_lock(1), pg_sleep(600)",
            )
            .unwrap(),
        )
        .unwrap();
        wait_for(postgres, &locks("granted"), "1");
        let mut waiter = Server::start(
            &mut Postgres::psql(
                Path::new("127.0.0.1"),
                self.port,
                "bank",
                "select 'done' || pg_advisory_xact_lock(1)",
            )
            .unwrap(),
        )
        .unwrap();
        wait_for(postgres, &locks("not granted"), "1");

        self.server.signal(Signal::INT).unwrap();
        self.server.wait_for_stderr("got SIGINT", LIMIT).unwrap();
        postgres
            .ask(
                "select pg_terminate_backend(pid) from pg_locks \
             where locktype = 'advisory' and granted",
            )
            .unwrap();
        assert_eq!(waiter.line(LIMIT).unwrap(), "done");
        assert!(waiter.wait(LIMIT).unwrap().success());
        let status = self.server.wait(LIMIT).unwrap();
        assert!(status.success(), "{status}: {}", self.server.stderr());
        holder.wait(LIMIT).unwrap();
    }

    fn ask(&self, database: &str, query: &str) -> String {
        let answer = output_of(
            &mut Postgres::psql(Path::new("127.0.0.1"), self.port, database, query).unwrap(),
        );
        answer.trim_end().to_string()
    }

    fn bench(&self, args: &[&str]) -> String {
        let mut pgbench = Command::new(Postgres::programs().unwrap().join("pgbench"));
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
            postgres.socket().display(),
            Postgres::PORT
        ));
    }
    text.push_str(&format!(
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\nadmin_users = postgres\npool_mode = transaction\n"
    ));
    // It refuses to stay root.
    if postgres.user().is_some() {
        text.push_str("user = nobody\n");
    }
    fs::write(path, text).unwrap();
    if let Some((uid, gid)) = postgres.user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn wait_for(postgres: &Postgres, query: &str, expected: &str) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = postgres.ask(query).unwrap();
        if answer == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{query}: {answer} for too long");
        thread::sleep(Duration::from_millis(20));
    }
}
