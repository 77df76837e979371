//! TLS: `benches/tls.c` on libevent and on ferrevent, in turn.

use ferrevent_workbench::{apt_install, compile_c, run, workspace_root};

use super::{Contestant, LIMIT, Programs};

const ROUNDS: usize = 5;

/// What is measured: a name, the arguments, and at how many times libevent's time ferrevent may be.
const LOADS: [(&str, [&str; 2], f64); 3] = [
    ("bulk, 256 MiB in pieces of 64 KiB", ["bulk", "256"], 1.0),
    (
        "small, 200,000 pieces of 100 bytes",
        ["small", "200000"],
        0.5,
    ),
    ("handshakes, 300", ["handshakes", "300"], 1.0),
];

/// Prints a table: CPU time of both ends together, medians of rounds in turn.
pub(super) fn measure(programs: &Programs) -> Result<(), String> {
    apt_install(&["libssl-dev"]).map_err(|e| e.to_string())?;
    compile_c(
        &[workspace_root().join("benches/tls.c")],
        &programs.dir.join("tls"),
        &["event", "event_openssl", "ssl", "crypto"],
    )?;
    println!("| load | libevent, ms | ferrevent, ms | ratio | may be |");
    println!("|---|---|---|---|---|");
    for (name, arguments, allowed) in LOADS {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (times, on) in times
                .iter_mut()
                .zip([Contestant::Libevent, Contestant::Ferrevent])
            {
                times.push(once(programs, on, arguments)?);
            }
        }
        let ratios = times[1].iter().zip(&times[0]);
        let ratio = median(ratios.map(|(ours, theirs)| ours / theirs).collect());
        let [theirs, ours] = times.map(|times| median(times) / 1e6);
        println!("| {name} | {theirs:.0} | {ours:.0} | {ratio:.2} | {allowed:.1} |");
    }
    Ok(())
}

/// Nanoseconds.
fn once(programs: &Programs, on: Contestant, arguments: [&str; 2]) -> Result<f64, String> {
    let output = run(programs.command("tls", on).args(arguments), LIMIT)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| format!("tls: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
