//! The three programs that a reader of libevent's documentation writes first, each against a
//! server that stands here.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ferrevent_workbench::Server;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{LIMIT, Outcome, Stage, ensure, finish};

/// connect.c reports a connection that stands, and one that is refused.
pub(super) fn connect(stage: &Stage) -> Result<Outcome, String> {
    let listener = listen()?;
    let port = port(&listener)?;
    let program = stage.program("connect");
    let out = finish(stage.ferrevent_run(&program).arg(&port))?;
    println!("to a listening port: {}", out.trim_end());
    ensure(out == "connected\n", || {
        format!("expected \"connected\", got {out:?}")
    })?;

    drop(listener);
    let out = finish(stage.ferrevent_run(&program).arg(&port))?;
    println!("to the same port, closed: {}", out.trim_end());
    ensure(out.starts_with("error: "), || {
        format!("expected an error, got {out:?}")
    })?;
    Ok(Outcome::Pass)
}

/// watermark.c gets 1,000 bytes in pieces of all sizes, and must take them by 128 or more.
pub(super) fn watermark(stage: &Stage) -> Result<Outcome, String> {
    const TOTAL: usize = 1_000;
    const PIECES: [usize; 7] = [1, 126, 1, 200, 100, 472, 100];
    let listener = listen()?;
    let port = port(&listener)?;
    let server = thread::spawn(move || {
        let mut peer = accept(&listener)?;
        for size in PIECES {
            peer.write_all(&vec![b'.'; size])
                .map_err(|e| format!("sending: {e}"))?;
        }
        Ok::<(), String>(())
    });
    let out = finish(stage.ferrevent_run(stage.program("watermark")).arg(port))?;
    join(server)?;
    print!("{out}");

    let numbers = |line: &str| -> Vec<usize> {
        line.split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect()
    };
    let (close, drains) = match out.lines().collect::<Vec<_>>().as_slice() {
        [drains @ .., close] => (numbers(close), drains.to_vec()),
        [] => return Err("it printed nothing".into()),
    };
    ensure(
        !drains.is_empty() && drains.iter().all(|line| numbers(line)[0] >= 128),
        || "the read callback ran below its low watermark of 128 bytes".into(),
    )?;
    // "buffer 1", what was drained, what is left.
    ensure(
        close.len() == 3 && close[1] + close[2] == TOTAL && close[2] < 128,
        || format!("{TOTAL} bytes were sent, of which less than 128 may be left at the end"),
    )?;
    Ok(Outcome::Pass)
}

/// http_client.c fetches a page. While its answer is held back, its memory map is read.
pub(super) fn http_client(stage: &Stage) -> Result<Outcome, String> {
    const LINES: usize = 20_000;
    let listener = listen()?;
    let port = port(&listener)?;
    let mut client = Server::start(stage.ferrevent_run(stage.program("http_client")).args([
        "127.0.0.1",
        &port,
        "/numbers",
    ]))?;
    let mut peer = accept(&listener).map_err(|e| format!("{e}\n{}", client.stderr()))?;
    let request = read_request(&peer)?;
    println!("the request: {request:?}");
    ensure(
        request == ["GET /numbers HTTP/1.0", "Host: 127.0.0.1"],
        || "not as written".into(),
    )?;
    stage.show_maps(client.pid())?;

    let numbers: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    let body = numbers.join("\n");
    let answer = format!(
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}\n",
        body.len() + 1
    );
    peer.write_all(answer.as_bytes())
        .map_err(|e| format!("answering: {e}"))?;
    drop(peer);
    let status = client.wait(LIMIT)?;
    ensure(status.success(), || {
        format!("{status}\n{}", client.stderr())
    })?;
    let mut got = Vec::new();
    while let Ok(line) = client.line(LIMIT) {
        got.push(line);
    }
    let body = got
        .iter()
        .skip_while(|line| !line.is_empty() && *line != "\r")
        .skip(1);
    ensure(body.eq(&numbers), || {
        "the page that it printed is not the one it was sent".into()
    })?;
    println!("the answer: {}, then all {LINES} lines", got[0].trim_end());

    // No name is that long: the look-up fails without asking any other machine.
    let out = finish(stage.ferrevent_run(stage.program("http_client")).args([
        &"x".repeat(64),
        "80",
        "/",
    ]))?;
    println!("for a host that cannot exist: {}", out.trim_end());
    ensure(out.starts_with("DNS error "), || {
        format!("expected a DNS error, got {out:?}")
    })?;
    Ok(Outcome::Pass)
}

fn listen() -> Result<TcpListener, String> {
    TcpListener::bind("127.0.0.1:0").map_err(|e| format!("listening: {e}"))
}

fn port(listener: &TcpListener) -> Result<String, String> {
    let address = listener
        .local_addr()
        .map_err(|e| format!("listening: {e}"))?;
    Ok(address.port().to_string())
}

/// The next connection, within the limit.
fn accept(listener: &TcpListener) -> Result<TcpStream, String> {
    let limit = Timespec {
        tv_sec: LIMIT.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit));
    match ready {
        Ok(0) => Err(format!("nobody connected within {LIMIT:?}")),
        Ok(_) => listener
            .accept()
            .and_then(|(peer, _)| bound(&peer).map(|()| peer))
            .map_err(|e| format!("accepting: {e}")),
        Err(e) => Err(format!("accepting: {e}")),
    }
}

fn bound(peer: &TcpStream) -> std::io::Result<()> {
    let limit: Option<Duration> = Some(LIMIT);
    peer.set_read_timeout(limit)?;
    peer.set_write_timeout(limit)
}

/// The lines of a request up to the empty one.
fn read_request(peer: &TcpStream) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for line in BufReader::new(peer).lines() {
        let line = line.map_err(|e| format!("reading the request: {e}"))?;
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line);
    }
    Err(format!("the request ended early: {lines:?}"))
}

fn join(thread: thread::JoinHandle<Result<(), String>>) -> Result<(), String> {
    thread
        .join()
        .unwrap_or_else(|_| Err("the server panicked".into()))
}
