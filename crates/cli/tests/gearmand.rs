//! Debian's gearmand, a job server with threads, on our library.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use ferrevent_workbench::{Folder, Server, free_port, library, run_with_input};
use rustix::process::Signal;

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed};

const CLIENTS: usize = 8;
const JOBS_OF_EACH: usize = 10;
const WORKERS: usize = 2;

#[test]
#[ignore = "slow: starts many processes"]
fn gearmand_hands_out_jobs() {
    if !installed(&["gearman-job-server", "gearman-tools"]) {
        return;
    }
    let library = library().unwrap();
    let mut gearmand = first_success(|| Gearmand::start(&library));
    assert_runs_on(&library, gearmand.server.pid());

    // Jobs may come before there is anybody to do them.
    let workers: Vec<Server> = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let tools = &gearmand.tools;
            scope.spawn(move || {
                for job in 0..JOBS_OF_EACH {
                    let (first, second) = (format!("client {client}\n"), format!("job {job}\n"));
                    let answer = tools.submit(&format!("{second}{first}"));
                    assert_eq!(answer, first + &second);
                }
            });
        }
        (0..WORKERS).map(|_| gearmand.tools.worker()).collect()
    });
    // One that fits into no socket.
    let numbers = 100_000..300_000;
    let lines = |n: u32| format!("{n}\n");
    let backwards: String = numbers.clone().rev().map(lines).collect();
    let forwards: String = numbers.map(lines).collect();
    assert!(
        gearmand.tools.submit(&backwards) == forwards,
        "the large job came back changed"
    );
    let workers_known = gearmand.ask("workers").matches(": sort\n").count();
    assert_eq!(workers_known, WORKERS);
    let status = gearmand.ask("status");
    assert_eq!(status, format!("sort\t0\t0\t{WORKERS}\n"));
    assert_runs_on(&library, gearmand.server.pid());

    gearmand.shut_down();
    drop(workers);
}

struct Gearmand {
    server: Server,
    tools: Tools,
}

impl Gearmand {
    fn start(library: &Path) -> Result<Self, String> {
        let folder = Folder::create()?;
        let port = free_port()?;
        let mut command = ferrevent_run("gearmand", library);
        command.args(["--listen", "127.0.0.1", "--port", &port.to_string()]);
        command.args([
            "--threads",
            "4",
            "--log-file",
            "stderr",
            "--verbose",
            "INFO",
        ]);
        if rustix::process::geteuid().is_root() {
            // It would look for a user of its own otherwise.
            command.args(["--user", "root"]);
        }
        let mut server = Server::start(&mut command)?;
        server
            .wait_for_stderr(&format!("Listening on 127.0.0.1:{port}"), LIMIT)
            .map_err(|e| format!("gearmand: {e}"))?;
        Ok(Self {
            server,
            tools: Tools { port, folder },
        })
    }

    /// The lines that its administrator gets, without the end mark.
    fn ask(&self, question: &str) -> String {
        let mut answer = String::new();
        let mut lines = self.tell(question);
        while !answer.ends_with("\n.\n") {
            assert_ne!(lines.read_line(&mut answer).unwrap(), 0, "{answer}");
        }
        answer.truncate(answer.len() - ".\n".len());
        answer
    }

    fn shut_down(&mut self) {
        self.server.signal(Signal::TERM).unwrap();
        let status = self.server.wait(LIMIT).unwrap();
        assert!(status.success(), "{status}: {}", self.server.stderr());
    }

    fn tell(&self, what: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.tools.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(format!("{what}\n").as_bytes()).unwrap();
        BufReader::new(stream)
    }
}

/// Debian's clients and workers of one gearmand.
struct Tools {
    port: u16,
    /// Where they run.
    folder: Folder,
}

impl Tools {
    fn gearman(&self) -> Command {
        let mut command = Command::new("gearman");
        command.current_dir(self.folder.path());
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-f",
            "sort",
        ]);
        command
    }

    /// It gives a program all of a job before it reads the answer: that program must not answer
    /// sooner.
    fn worker(&self) -> Server {
        let mut command = self.gearman();
        command.env("LC_ALL", "C");
        Server::start(command.args(["-w", "--", "sort"])).unwrap()
    }

    /// The answer to one job.
    fn submit(&self, input: &str) -> String {
        let output = run_with_input(&mut self.gearman(), input.into(), LIMIT).unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
