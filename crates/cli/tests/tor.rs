//! Debian's tor on our library: a private network of an authority, three relays and a client, a transfer through it by
//! host name, and names looked up through it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use ferrevent_workbench::{Folder, Server, free_port, library, run_with_input};

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

const RELAYS: usize = 3;
/// How much is fetched through the network.
const BYTES: usize = 4 << 20;
/// A name that only the relays' DNS server knows.
const HOST: &str = "page.example";

#[test]
#[ignore = "slow: a network of tor's has to agree on itself first"]
fn a_private_tor_network_transfers_and_resolves() {
    if !installed(&["tor"]) {
        return;
    }
    let library = library().unwrap();
    let names = NameServer::start();
    let network = first_success(|| Network::start(&library, names.port));
    for node in &network.nodes {
        assert_runs_on(&library, node.pid());
    }

    let content: Vec<u8> = (0..BYTES as u32 / 4).flat_map(u32::to_le_bytes).collect();
    let page = serve_once(content.clone());
    let fetched = fetch_by_socks(network.socks, HOST, page);
    assert!(fetched == content, "{} bytes came, changed", fetched.len());

    // The client's DNS port asks the network, whose exits ask our server.
    let answer = ask(network.dns, "other.example", TYPE_A);
    assert_eq!(answer.code, 0);
    assert_eq!(answer.addresses, [Ipv4Addr::LOCALHOST]);
    assert_eq!(ask(network.dns, "missing.example", TYPE_A).code, 3);
}

struct Network {
    nodes: Vec<Server>,
    socks: u16,
    dns: u16,
    _folder: Folder,
}

impl Network {
    /// Starts all nodes, and waits until the client can use the network.
    fn start(library: &Path, name_server: u16) -> Result<Self, String> {
        let folder = Folder::create()?;
        let dir = folder.path();
        let resolv_conf = dir.join("resolv.conf");
        fs::write(
            &resolv_conf,
            format!("nameserver 127.0.0.1:{name_server}\n"),
        )
        .unwrap();
        let authority = Authority::prepare(dir, free_port()?, free_port()?);
        let (socks, dns) = (free_port()?, free_port()?);

        let mut nodes = vec![start_node(library, &authority.config)?];
        for n in 1..=RELAYS {
            let name = format!("relay{n}");
            let mut config = common(dir, &name);
            config += &relay(&name, free_port()?, &resolv_conf);
            config += &authority.line;
            nodes.push(start_node(library, &write_config(dir, &name, &config))?);
        }
        let mut config = common(dir, "client");
        config += &format!("SocksPort 127.0.0.1:{socks}\nDNSPort 127.0.0.1:{dns}\n");
        config += &authority.line;
        let mut client = start_node(library, &write_config(dir, "client", &config))?;
        client.wait_for_stderr("Bootstrapped 100%", LIMIT)?;
        nodes.push(client);
        Ok(Self {
            nodes,
            socks,
            dns,
            _folder: folder,
        })
    }
}

/// The directory authority, which is a relay too, and the line by which the others know it.
struct Authority {
    config: PathBuf,
    line: String,
}

impl Authority {
    fn prepare(dir: &Path, or_port: u16, dir_port: u16) -> Self {
        let mut config = common(dir, "authority");
        config += &relay("authority", or_port, &dir.join("resolv.conf"));
        config += &format!(
            "DirPort 127.0.0.1:{dir_port}\nAuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\n\
             TestingMinExitFlagThreshold 0\n"
        );
        let keys = dir.join("authority/keys");
        private_folder(&keys);
        let mut generate = Command::new("tor-gencert");
        generate.args(["--create-identity-key", "--passphrase-fd", "0", "-m", "12"]);
        generate.args(["-a", &format!("127.0.0.1:{dir_port}")]);
        for (option, file) in [
            ("-i", "authority_identity_key"),
            ("-s", "authority_signing_key"),
            ("-c", "authority_certificate"),
        ] {
            generate.arg(option).arg(keys.join(file));
        }
        let generated = run_with_input(&mut generate, b"\n".to_vec(), LIMIT).unwrap();
        assert!(generated.status.success(), "{generated:?}");
        let certificate = fs::read_to_string(keys.join("authority_certificate")).unwrap();
        let identity = certificate
            .lines()
            .find_map(|line| line.strip_prefix("fingerprint "));

        let line = |fingerprint: &str| {
            format!(
                "DirAuthority authority orport={or_port} no-v2 v3ident={} 127.0.0.1:{dir_port} \
                 {fingerprint}\n",
                identity.unwrap()
            )
        };
        // Without an authority tor would not tell, so it gets one that it is not.
        let asking = format!("{config}{}", line(&"F".repeat(40)));
        let asking = write_config(dir, "asking", &asking);
        let told = output_of(
            Command::new("tor")
                .args(["--quiet", "--list-fingerprint", "-f"])
                .arg(asking),
        );
        let fingerprint: String = told.split_whitespace().skip(1).collect();
        let line = line(&fingerprint);
        config += &line;
        Self {
            config: write_config(dir, "authority", &config),
            line,
        }
    }
}

/// What all nodes have: the shortest intervals that tor allows, and no address that is not private.
fn common(dir: &Path, name: &str) -> String {
    let data = dir.join(name);
    private_folder(&data);
    format!(
        "TestingTorNetwork 1\n\
         DataDirectory {}\n\
         Log notice stderr\n\
         ShutdownWaitLength 0\n\
         TestingV3AuthInitialVotingInterval 5\n\
         TestingV3AuthInitialVoteDelay 2\n\
         TestingV3AuthInitialDistDelay 2\n\
         V3AuthVotingInterval 10\n\
         V3AuthVoteDelay 2\n\
         V3AuthDistDelay 2\n\
         AssumeReachable 1\n\
         PathsNeededToBuildCircuits 0.25\n\
         TestingDirAuthVoteExit *\n\
         TestingDirAuthVoteGuard *\n\
         TestingDirAuthVoteHSDir *\n",
        data.display()
    )
}

/// A relay that lets everything out, and looks names up with our server only.
fn relay(name: &str, or_port: u16, resolv_conf: &Path) -> String {
    format!(
        "Nickname {name}\n\
         Address 127.0.0.1\n\
         ORPort 127.0.0.1:{or_port}\n\
         SocksPort 0\n\
         ExitRelay 1\n\
         ExitPolicy accept *:*\n\
         ContactInfo none\n\
         ServerDNSDetectHijacking 0\n\
         ServerDNSAllowBrokenConfig 0\n\
         ServerDNSResolvConfFile {}\n",
        resolv_conf.display()
    )
}

fn private_folder(path: &Path) {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).recursive(true).create(path).unwrap();
}

fn write_config(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name).with_extension("conf");
    fs::write(&path, text).unwrap();
    path
}

fn start_node(library: &Path, config: &Path) -> Result<Server, String> {
    let mut node = Server::start(ferrevent_run("tor", library).arg("-f").arg(config))?;
    // It has bound its ports then.
    node.wait_for_stderr("Bootstrapped 0%", LIMIT)
        .map_err(|e| format!("{}: {e}", config.display()))?;
    Ok(node)
}

/// Sends `content` to the first who connects; the port.
fn serve_once(content: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&content).unwrap();
    });
    port
}

/// Everything that `host` sends, through a SOCKS5 proxy.
fn fetch_by_socks(proxy: u16, host: &str, port: u16) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).unwrap();
    assert_eq!(chosen, [5, 0]);
    let mut request = vec![5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..2], [5, 0], "the proxy cannot connect");
    let mut fetched = Vec::new();
    stream.read_to_end(&mut fetched).unwrap();
    fetched
}

const TYPE_A: u16 = 1;

/// A DNS server that says of every name that it is this machine, except of those that begin with "missing".
struct NameServer {
    port: u16,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        // It lives as long as the test's process.
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((len, from)) = socket.recv_from(&mut query) {
                answer(&socket, &query[..len], from);
            }
        });
        Self { port }
    }
}

fn answer(socket: &UdpSocket, query: &[u8], from: SocketAddr) {
    let Some(labels) = query.get(12..).and_then(|q| q.iter().position(|b| *b == 0)) else {
        return;
    };
    let end = 12 + labels + 5;
    let Some(question) = query.get(12..end) else {
        return;
    };
    let missing = question[1..].to_ascii_lowercase().starts_with(b"missing");
    let is_a = question[labels + 2] == TYPE_A as u8;
    let mut reply = query[..2].to_vec();
    reply.extend_from_slice(&[0x81, if missing { 0x83 } else { 0x80 }, 0, 1]);
    reply.extend_from_slice(&[0, u8::from(is_a && !missing), 0, 0, 0, 0]);
    reply.extend_from_slice(question);
    if is_a && !missing {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 127, 0, 0, 1]);
    }
    // Who has gone does not need the answer.
    let _ = socket.send_to(&reply, from);
}

struct Answer {
    code: u8,
    addresses: Vec<Ipv4Addr>,
}

/// Asks a DNS server by UDP, again and again as a question may be lost.
fn ask(port: u16, name: &str, kind: u16) -> Answer {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut reply = [0; 1500];
    let len = (0..3)
        .find_map(|_| {
            socket.send(&query).unwrap();
            socket.recv(&mut reply).ok()
        })
        .expect("no answer");
    let reply = &reply[..len];
    assert_eq!(reply[..2], query[..2]);
    // Each record has a pointer to the name, 10 bytes of head, and the address.
    let records = reply[query.len()..].chunks_exact(16);
    let addresses = records.map(|record| <[u8; 4]>::try_from(&record[12..]).unwrap().into());
    Answer {
        code: reply[3] & 15,
        addresses: addresses.collect(),
    }
}
