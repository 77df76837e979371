//! Debian's sslsplit between OpenSSL's client and server, on our library: every byte is decrypted and encrypted again
//! by TLS bufferevents.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library, run_with_input};

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

const CLIENTS: usize = 12;
const FILE: &str = "file.txt";

#[test]
#[ignore = "slow: a dozen clients through sslsplit"]
fn sslsplit_reads_what_others_tell_each_other() {
    if !installed(&["sslsplit", "openssl"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let dir = folder.path();
    certificate(dir, "authority");
    certificate(dir, "server");
    // Larger than what sockets hold.
    let content: String = (0..400_000).map(|n| format!("line {n}\n")).collect();
    fs::write(dir.join(FILE), &content).unwrap();

    let (_server, server_port) = first_success(|| start_server(dir));
    let (sslsplit, port) = first_success(|| start_sslsplit(&library, dir, server_port));
    assert_runs_on(&library, sslsplit.pid());

    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| fetch(dir, port)))
            .collect();
        for client in clients {
            let output = client.join().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            // The client trusts nobody but sslsplit's own authority.
            assert!(errors.contains("verify return:1"), "{errors}");
            let same = output.stdout == content.as_bytes();
            assert!(same, "{} bytes: {errors}", output.stdout.len());
        }
    });
    assert_runs_on(&library, sslsplit.pid());
    // It has read along.
    let log = fs::read_to_string(dir.join("content.log")).unwrap();
    assert_eq!(log.matches("GET /file.txt").count(), CLIENTS);
    assert_eq!(log.matches("line 399999\n").count(), CLIENTS);
}

/// Makes `NAME.key` and `NAME.crt`, signed by itself.
fn certificate(dir: &Path, name: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["req", "-x509", "-nodes"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-days", "2", "-subj", &format!("/CN={name}")]);
    let [key, crt] = ["key", "crt"].map(|end| format!("{name}.{end}"));
    output_of(command.args(["-keyout", &key, "-out", &crt]));
}

/// A server of the files in `dir`, and its port.
fn start_server(dir: &Path) -> Result<(Server, u16), String> {
    let port = free_port()?;
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["s_server", "-HTTP"]);
    command.args(["-accept", &format!("127.0.0.1:{port}")]);
    command.args(["-cert", "server.crt", "-key", "server.key"]);
    let server = Server::start(&mut command)?;
    wait_for(port, &server)?;
    Ok((server, port))
}

fn start_sslsplit(library: &Path, dir: &Path, server: u16) -> Result<(Server, u16), String> {
    let port = free_port()?;
    let mut command = ferrevent_run("sslsplit", library);
    command.current_dir(dir);
    command.args(["-D", "-k", "authority.key", "-c", "authority.crt"]);
    if rustix::process::geteuid().is_root() {
        // It would become nobody, who may not read the folder.
        command.args(["-u", "root"]);
    }
    command.args(["-L", "content.log"]);
    command.args(["ssl", "127.0.0.1", &port.to_string()]);
    command.args(["127.0.0.1", &server.to_string()]);
    let sslsplit = Server::start(&mut command)?;
    wait_for(port, &sslsplit)?;
    Ok((sslsplit, port))
}

/// Waits until `server` listens.
fn wait_for(port: u16, server: &Server) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err(format!("port {port} is closed: {}", server.stderr()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Fetches the file through sslsplit.
fn fetch(dir: &Path, port: u16) -> Output {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["s_client", "-quiet"]);
    command.args(["-connect", &format!("127.0.0.1:{port}")]);
    command.args(["-servername", "localhost"]);
    command.args(["-CAfile", "authority.crt", "-verify_return_error"]);
    let request = format!("GET /{FILE} HTTP/1.0\r\n\r\n");
    run_with_input(&mut command, request.into_bytes(), LIMIT).unwrap()
}
