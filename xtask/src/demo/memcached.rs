//! Debian's memcached on our library.

use std::time::Instant;

use ferrevent_workbench::Memcached;

use super::{Outcome, Stage, ensure, installed};

const CONNECTIONS: usize = 10;
const KEYS: usize = 1_000;
/// Just below what memcached stores by default.
const LARGE: usize = 900 * 1024;

pub(super) fn step(stage: &Stage) -> Result<Outcome, String> {
    let Some(program) = installed("memcached") else {
        return Ok(Outcome::Skipped(
            "not installed (apt-get install memcached)".into(),
        ));
    };
    let server = Memcached::start(stage.ferrevent_run(&program), 4, 128)?;
    print!("{}", server.stderr());
    stage.show_maps(server.pid())?;

    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect()?);
    }
    let start = Instant::now();
    for key in 0..KEYS {
        clients[key % CONNECTIONS].set(&format!("key:{key}"), &value(key))?;
    }
    for key in 0..KEYS {
        // Another connection than the one that set it.
        let got = clients[(key + 1) % CONNECTIONS].get(&format!("key:{key}"))?;
        ensure(got == value(key), || format!("key:{key} came back changed"))?;
    }
    println!(
        "{KEYS} keys set and read back over {CONNECTIONS} connections in {:.0?}",
        start.elapsed()
    );

    let client = &mut clients[0];
    let large: Vec<u8> = (0..LARGE).map(|i| (i % 251) as u8).collect();
    client.set("large", &large)?;
    ensure(client.get("large")? == large, || {
        "the large value came back changed".into()
    })?;
    println!("a value of {} KiB set and read back", LARGE / 1024);

    client.set("counter", b"41")?;
    let counted = client.incr("counter", 1)?;
    ensure(counted == 42, || format!("41 and 1 are {counted}"))?;
    client.append("counter", b" is the answer")?;
    let text = String::from_utf8_lossy(&client.get("counter")?).into_owned();
    ensure(text == "42 is the answer", || format!("appended: {text:?}"))?;
    println!("41 incremented by 1, and text appended: {text:?}");
    Ok(Outcome::Pass)
}

/// A value of 1 to some thousand bytes that no other key has.
fn value(key: usize) -> Vec<u8> {
    let length = 1 + key * 7 % 5_000;
    (0..length).map(|i| ((i + key * 31) % 256) as u8).collect()
}
