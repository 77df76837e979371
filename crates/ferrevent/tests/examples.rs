//! The examples, as the programs that they are.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod name_server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use name_server::NameServer;
use rustix::process::{Pid, Signal, kill_process};

/// How long a read may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_echo_server_sends_everything_back_to_everybody() {
    for method in ["epoll", "poll", "select"] {
        let mut server = Server::start("echo_server", &["127.0.0.1:0", "--method", method]);
        let clients: Vec<_> = (0..8u8)
            .map(|i| {
                let client = server.connect();
                thread::spawn(move || {
                    let text = vec![i; 300_000];
                    assert_eq!(exchange(&client, &text), text);
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(server.stop(Signal::TERM), "8 connections, 2400000 bytes\n");
    }
}

#[test]
fn the_echo_server_does_not_wait_for_idlers() {
    let server = Server::start("echo_server", &["127.0.0.1:0", "--idle", "1"]);
    let mut idler = server.connect();
    assert_eq!(idler.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_proxy_passes_both_directions_on_with_their_ends() {
    let echo = Server::start("echo_server", &["127.0.0.1:0"]);
    let target = echo.address.to_string();
    let proxy = Server::start("tcp_proxy", &["127.0.0.1:0", &target, "--limit", "4096"]);
    let text: Vec<u8> = (0..2_000_000u32).map(|i| (i % 253) as u8).collect();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = proxy.connect();
            let text = text.clone();
            thread::spawn(move || assert!(exchange(&client, &text) == text))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn the_proxy_holds_a_fast_sender_back() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap().to_string();
    let proxy = Server::start("tcp_proxy", &["127.0.0.1:0", &address, "--limit", "65536"]);
    let client = proxy.connect();
    let (mut server, _) = target.accept().unwrap();
    // The target takes nothing. What the client gets rid of is what the kernel's buffers and the proxy hold.
    client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut refusals = 0;
    while refusals < 200 {
        match (&client).write(&[7; 65536]) {
            Ok(n) => {
                sent += n;
                refusals = 0;
            }
            Err(_) => {
                refusals += 1;
                thread::yield_now();
            }
        }
        assert!(sent < 64 << 20, "nobody holds the sender back");
    }
    assert!(proxy.resident_bytes() < 32 << 20);
    client.shutdown(Shutdown::Write).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
}

#[test]
fn the_proxy_closes_when_the_target_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let proxy = Server::start("tcp_proxy", &["127.0.0.1:0", &address]);
    assert_eq!(proxy.connect().read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_chat_room_tells_everybody_but_the_speaker() {
    let room = Server::start("chat_server", &["127.0.0.1:0", "--max-line", "100"]);
    let mut ann = Chatter::enter(&room);
    ann.hears("* you are guest1; /name NAME, /who, /quit");
    let mut bob = Chatter::enter(&room);
    bob.hears("* you are guest2; /name NAME, /who, /quit");
    ann.hears("* guest2 has come");
    ann.says("/name ann\n");
    ann.hears("* guest1 is ann now");
    bob.hears("* guest1 is ann now");
    bob.says("/name ann\nhello\n");
    bob.hears("* that name is taken");
    ann.hears("guest2: hello");
    ann.says("/who\n");
    ann.hears("* here: ann, guest2");
    let mut loud = Chatter::enter(&room);
    loud.says(&"x".repeat(200));
    for hearer in [&mut ann, &mut bob] {
        hearer.hears("* guest3 has come");
        hearer.hears("* guest3 has said too much at once");
    }
    bob.says("/quit\n");
    ann.hears("* guest2 has left");
}

#[test]
fn the_client_prints_the_whole_answer() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let answer = format!("HTTP/1.0 200 OK\r\n\r\n{}", "body ".repeat(50_000));
    let sent = answer.clone();
    let server = thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        peer.write_all(sent.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    let output = client(&["localhost", "/some/where", "--port", &port]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == answer.as_bytes());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, format!("connected\n{} bytes\n", answer.len()));
    let request = server.join().unwrap();
    assert_eq!(
        request,
        "GET /some/where HTTP/1.0\r\nHost: localhost\r\n\r\n"
    );
}

#[test]
fn the_client_says_what_went_wrong() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port().to_string();
    drop(closed);
    let output = client(&["127.0.0.1", "/", "--port", &port]);
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("refused")
    );
    let output = client(&["no..such.host", "/"]);
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("cannot look up no..such.host")
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let output = client(&["127.0.0.1", "/", "--port", &port, "--timeout", "1"]);
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("timed out")
    );
}

#[test]
fn the_http_server_answers_in_order_and_refuses_what_is_not_clear() {
    let server = Server::start("http_server", &["127.0.0.1:0"]);
    let ask = |text: &str| {
        let answers = exchange(&server.connect(), text.as_bytes());
        String::from_utf8(answers).unwrap()
    };
    let body = "x".repeat(1_000_000);
    let two = format!(
        "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{body}\
         GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    );
    let answers = ask(&two);
    let (first, second) = answers.split_once(&body).unwrap();
    for (answer, line, len) in [(first, "POST /1\n", 1_000_008), (second, "GET /2\n", 7)] {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(&format!("\r\nContent-Length: {len}\r\n")));
        assert!(answer.ends_with(&format!("\r\n\r\n{line}")));
    }

    let smuggled = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                    Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n";
    let answers = ask(smuggled);
    assert!(answers.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert_eq!(answers.matches("HTTP/1.1").count(), 1);
}

#[test]
fn the_http_client_writes_what_the_server_answers() {
    let mut server = Server::start("http_server", &["127.0.0.1:0"]);
    let url = |path: &str| format!("http://{}{path}", server.address);
    let fetch = |arguments: &[&str]| {
        let mut client = Command::new(example("http_client"));
        client.args(arguments).output().unwrap()
    };
    let output = fetch(&[&url("/a"), &url("/b?c=d"), &url("")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"GET /a\nGET /b?c=d\nGET /\n");
    let output = fetch(&["--data", "text", "--header", "X: y", &url("/p")]);
    assert_eq!(output.stdout, b"POST /p\ntext");
    let output = fetch(&["--data", "x", "--header", "Content-Length: 7", &url("/p")]);
    assert_eq!(output.stdout, b"POST /p\nx", "it knows better");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    for (arguments, complaint) in [
        (&[nobody.as_str()][..], format!("{nobody}: ").as_str()),
        (&["ftp://h/"], "http_client: "),
        (&["--header", "X", "http://h/"], "error: "),
    ] {
        let output = fetch(arguments);
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(complaint), "{text}");
    }
    assert_eq!(server.stop(Signal::TERM), "");
}

#[test]
fn curl_understands_the_http_server() {
    let Ok(version) = Command::new("curl").arg("--version").output() else {
        eprintln!("skipped: there is no curl");
        return;
    };
    assert!(version.status.success());
    let mut server = Server::start("http_server", &["127.0.0.1:0"]);
    let url = format!("http://{}/there", server.address);
    let body = "x".repeat(100_000);
    let path = std::env::temp_dir().join(format!("ferrevent-curl-{}", std::process::id()));
    std::fs::write(&path, &body).unwrap();
    let from_file = format!("@{}", path.display());
    let chunked = ["--header", "Transfer-Encoding: chunked"];
    for more in [
        &[][..],
        &chunked,
        &["--header", "Expect: 100-continue"],
        &["--http1.0"],
    ] {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ]);
        // Two on one connection.
        curl.args(more)
            .args(["--data-binary", &from_file, &url, &url]);
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{more:?}: {output:?}");
        assert!(
            output.stdout == ["POST /there\n", &body].concat().repeat(2).as_bytes(),
            "{more:?}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.stop(Signal::INT), "");
}

#[test]
fn the_compressing_client_gets_its_text_back() {
    // More than a piece, and what does not get shorter by being packed.
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (state >> 24) as u8 % 95)
    };
    let mixed: String = (0..30_000).map(|_| letter()).collect();
    for text in ["", "hello", &"again ".repeat(15_000), &mixed] {
        let output = Command::new(example("zlib_echo"))
            .arg(text)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.stdout == format!("{text}\n").as_bytes());
    }
}

#[test]
fn the_tls_client_gets_its_text_back() {
    let output = Command::new(example("tls_echo"))
        .args(["hello", "world"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello world\n");
}

/// Sends all of `text` and its end, and gives back all that comes.
fn exchange(client: &TcpStream, text: &[u8]) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(|| {
            (&mut &*client).write_all(text).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&mut &*client).read_to_end(&mut back).unwrap();
        back
    })
}

#[test]
fn hosts_are_resolved_at_the_same_time() {
    let server = NameServer::start();
    let output = Command::new(example("resolve"))
        .args(["--server", &server.address.to_string()])
        .args(["www.test", "local.test", "missing.test", "192.0.2.1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "192.0.2.1: www.test");
    assert_eq!(lines[1], "local.test: 127.0.0.1");
    assert!(lines[2].starts_with("missing.test: "), "{text}");
    assert_eq!(lines[3], "www.test: 192.0.2.1 2001:db8::1");
}

fn client(arguments: &[&str]) -> std::process::Output {
    Command::new(example("http10_client"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Somebody in the chat room.
struct Chatter(BufReader<TcpStream>);

impl Chatter {
    fn enter(room: &Server) -> Self {
        Self(BufReader::new(room.connect()))
    }

    fn says(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }
}

/// A running example; it ends with the test.
struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(example(name))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("{name} said {line:?}"));
        let address = address.parse().unwrap();
        Self {
            process,
            output,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Ends it by a signal, and gives back what else it has printed.
    fn stop(&mut self, signal: Signal) -> String {
        let id = Pid::from_child(&self.process);
        kill_process(id, signal).unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        rest
    }

    /// How much memory it has.
    fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/statm", self.process.id());
        let pages = std::fs::read_to_string(path).unwrap();
        let pages: usize = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is what this is for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of an example, which stands beside this test's folder.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    build_examples(profile);
    profile.join("examples").join(name)
}

/// `cargo test --test examples` does not build them.
fn build_examples(profile: &Path) {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples", "--package", "ferrevent"]);
        cargo.args(["--features", "tls-native-roots"]);
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.unwrap().success());
    });
}
