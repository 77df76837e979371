//! The example `tls_client`, which trusts whom the system trusts: what `SSL_CERT_FILE` names, here.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, Listener, LoopFlags, TlsSession};
use ferrevent_workbench::Folder;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// Answers with the length of what was sent, once that has come to its end.
struct Counting(Rc<RefCell<Vec<String>>>);

impl Handler for Counting {
    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        match condition {
            Condition::Connected => {}
            Condition::Eof { dirs } if dirs.contains(Dirs::READ) => {
                let answer = format!("{} bytes\n", bev.input_len(base).unwrap());
                bev.write(base, answer).unwrap();
                bev.free_when_drained(base, None);
                self.0.borrow_mut().push("end".into());
            }
            other => {
                self.0.borrow_mut().push(other.to_string());
                bev.free(base);
            }
        }
    }
}

/// Has the example ask a server of "localhost" while these are the authorities of the system. Gives what the server has
/// seen, and the client's output if it succeeded.
fn ask(
    folder: &Path,
    authorities: &str,
    server: &Arc<ServerConfig>,
) -> (Vec<String>, Option<String>) {
    let file = folder.join("authorities.pem");
    std::fs::write(&file, authorities).unwrap();
    let mut base = Base::new().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (config, told) = (server.clone(), seen.clone());
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&mut base, anywhere, move |base, _, stream, _| {
        let bev = BufferEvent::new(base, stream).unwrap();
        bev.secure(base, TlsSession::server(config.clone()).unwrap())
            .unwrap();
        bev.set_handler(base, Counting(told.clone()));
        bev.enable(base, Dirs::READ).unwrap();
    })
    .unwrap();
    let port = listener.address(&base).unwrap().port().to_string();
    let mut client = Command::new(example())
        .args(["localhost", &port])
        .env("SSL_CERT_FILE", &file)
        .env_remove("SSL_CERT_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(&[b'x'; 100_000])
        .unwrap();
    let status = wait(&mut base, &mut client);
    let mut output = String::new();
    client.stdout.unwrap().read_to_string(&mut output).unwrap();
    (seen.take(), status.then_some(output))
}

/// Runs the loop until the client has ended; whether it has succeeded.
fn wait(base: &mut Base, client: &mut Child) -> bool {
    for _ in 0..2000 {
        base.after(Duration::from_millis(10), |_| {});
        base.run_with(LoopFlags::ONCE).unwrap();
        if let Some(status) = client.try_wait().unwrap() {
            return status.success();
        }
    }
    client.kill().unwrap();
    panic!("the client does not end");
}

/// The program of the example, which stands beside this test's folder; `cargo test --test` does not build it.
fn example() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--examples", "--package", "ferrevent"]);
    cargo.args(["--features", "tls-native-roots"]);
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.unwrap().success());
    profile.join("examples/tls_client")
}

#[test]
fn the_client_trusts_whom_the_system_trusts_and_nobody_else() {
    let folder = Folder::create().unwrap();
    let [ours, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".into()]).unwrap());
    let key = PrivateKeyDer::Pkcs8(ours.signing_key.serialize_der().into());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![ours.cert.der().clone()], key)
        .unwrap();
    let server = Arc::new(server);
    let (seen, output) = ask(folder.path(), &ours.cert.pem(), &server);
    assert_eq!(seen, ["end"]);
    assert_eq!(output.as_deref(), Some("100000 bytes\n"));
    let (seen, output) = ask(folder.path(), &other.cert.pem(), &server);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_ne!(seen, ["end"]);
    assert_eq!(output, None);
    // Nobody would be trusted: it does not even connect.
    let (seen, output) = ask(folder.path(), "", &server);
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(output, None);
}
