//! Debian's litecoind and litecoin-cli, an `evhttp` server and its clients, on our library: a chain of their own that no
//! other host hears of.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library, run};

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

/// What the package's `litecoind`, a script, starts.
const DAEMON: &str = "/usr/lib/litecoin/litecoind";
/// The coins of a block can be spent when a hundred more have come.
const BLOCKS: u32 = 101;
/// How many clients ask at the same time.
const CLIENTS: usize = 8;

#[test]
#[ignore = "slow: starts a daemon, which takes its time to begin and to end"]
fn litecoins_are_made_by_http() {
    if !installed(&["litecoind"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let mut node = first_success(|| Node::start(&library, folder.path()));
    assert_runs_on(&library, node.daemon.pid());

    assert_eq!(node.ask(&["getblockcount"]), "0");
    node.ask(&["createwallet", "purse"]);
    let address = node.ask(&["getnewaddress"]);

    // A request that is answered when somebody else has made a block.
    let waiting = node.waiting_client();
    assert_runs_on(&library, waiting.id());
    let made = node.ask(&["generatetoaddress", &BLOCKS.to_string(), &address]);
    assert_eq!(made.matches('"').count() as u32, 2 * BLOCKS);
    let told = waiting.wait_with_output().unwrap();
    assert!(told.status.success());
    assert!(
        String::from_utf8(told.stdout)
            .unwrap()
            .contains("\"height\": ")
    );

    assert_eq!(node.ask(&["getbalance"]), "50.00000000");
    // A long answer, and an error, which has another status.
    let hash = node.ask(&["getblockhash", "1"]);
    assert!(node.ask(&["getblock", &hash, "2"]).contains(&hash));
    assert!(node.ask(&["help"]).len() > 5_000);
    let failed = node.client(&["getblockhash", "1000000"]).output().unwrap();
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("out of range"));

    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = node.client(&["getblockcount"]);
            client.stdout(Stdio::piped()).stderr(Stdio::null());
            client.spawn().unwrap()
        })
        .collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.stdout, format!("{BLOCKS}\n").into_bytes());
    }

    assert!(node.ask(&["stop"]).contains("stopping"));
    assert!(node.daemon.wait(LIMIT).unwrap().success());
    // Nobody is there any more.
    let failed = node.client(&["getblockcount"]).output().unwrap();
    assert!(String::from_utf8_lossy(&failed.stderr).contains("Could not connect"));
}

/// A daemon, and what its clients need to know.
struct Node {
    daemon: Server,
    library: PathBuf,
    options: Vec<String>,
}

impl Node {
    fn start(library: &Path, dir: &Path) -> Result<Self, String> {
        let options = vec![
            "-regtest".to_owned(),
            format!("-datadir={}", dir.display()),
            format!("-rpcport={}", free_port()?),
        ];
        let mut command = ferrevent_run(DAEMON, library);
        command.args(&options).args([
            "-server",
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
            "-listen=0",
            "-connect=0",
            "-dnsseed=0",
            "-discover=0",
            "-printtoconsole=0",
            "-fallbackfee=0.001",
        ]);
        let daemon = Server::start(&mut command)?;
        let node = Self {
            daemon,
            library: library.to_owned(),
            options,
        };
        let answers = || run(&mut node.client(&["getblockcount"]), LIMIT);
        wait_until(|| answers().is_ok_and(|output| output.status.success()))
            .map_err(|e| format!("{e}\n{}", node.daemon.stderr()))?;
        Ok(node)
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = ferrevent_run("litecoin-cli", &self.library);
        command.args(&self.options).args(words);
        command
    }

    fn ask(&self, words: &[&str]) -> String {
        output_of(&mut self.client(words)).trim().to_owned()
    }

    /// A client that waits for a block, once it has connected.
    fn waiting_client(&self) -> Child {
        let mut client = self.client(&["waitfornewblock", "60000"]);
        client.stdout(Stdio::piped()).stderr(Stdio::null());
        let client = client.spawn().unwrap();
        wait_until(|| self.ask(&["getrpcinfo"]).contains("waitfornewblock")).unwrap();
        client
    }
}

fn wait_until(is_so: impl Fn() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        if Instant::now() > deadline {
            return Err("what the test waits for did not happen".to_owned());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
