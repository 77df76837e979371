//! `cargo xtask bench base`: what plain events, timers and idle bufferevents cost beside libevent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{apt_install, run as run_limited};

use super::report::median;
use super::{CPU, Contestant, Programs, save};

const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(120);

/// The program's groups of rows, each with so many events, and whether it is short enough to count instructions.
const GROUPS: [(&str, u32, bool); 10] = [
    ("descriptors", 1_000, true),
    // With those that the program has besides, within the limit of 20,000 descriptors that some systems have.
    ("descriptors", 10_000, false),
    ("calls", 1_000, true),
    ("timers", 1_000, true),
    ("timers", 100_000, false),
    ("timers", 1_000_000, false),
    ("common", 1_000, true),
    ("common", 1_000_000, false),
    ("streams", 10_000, true),
    ("streams", 1_000_000, false),
];
const MEMORY: (&str, u32) = ("memory", 10_000);

const CONTESTANTS: [Contestant; 2] = [Contestant::Libevent, Contestant::Ferrevent];

pub(super) fn run(programs: &Programs, quick: bool) -> Result<(), String> {
    apt_install(&["valgrind"]).map_err(|e| e.to_string())?;
    let rounds = if quick { QUICK_ROUNDS } else { ROUNDS };
    let mut page = format!(
        "Medians of {rounds} rounds in turn; ratios are taken within a round. Instructions by callgrind, where the run \
         is short enough for it.\n\n\
         | | events | libevent | ferrevent | **time** | **instructions** |\n|---|---:|---:|---:|---:|---:|\n"
    );
    for (group, n, counted) in GROUPS {
        let counts = match counted {
            true => Some(instructions(programs, group, n)?),
            false => None,
        };
        for row in measure(programs, group, n, rounds)? {
            let instructions = counts
                .as_ref()
                .and_then(|[libevent, ferrevent]| {
                    Some((libevent.get(&row.name)?, ferrevent.get(&row.name)?))
                })
                .map_or(String::new(), |(libevent, ferrevent)| {
                    format!(
                        "{ferrevent:.0} : {libevent:.0} = {:.2}×",
                        ferrevent / libevent
                    )
                });
            let line = format!(
                "| {} | {n} | {:.1} ns | {:.1} ns | **{:.2}×** | {instructions} |",
                title(&row.name),
                row.libevent,
                row.ferrevent,
                row.ratio
            );
            println!("{line}");
            let _ = writeln!(page, "{line}");
        }
    }
    page.push_str("\nBytes of the heap for each:\n\n| | libevent | ferrevent |\n|---|---:|---:|\n");
    for row in measure(programs, MEMORY.0, MEMORY.1, 1)? {
        let title = title(&row.name);
        let _ = writeln!(
            page,
            "| {title} | {:.0} | {:.0} |",
            row.libevent, row.ferrevent
        );
    }
    save("base.md", &page)?;
    println!("\n{page}");
    Ok(())
}

/// A row's cost of one operation on both.
struct Row {
    name: String,
    libevent: f64,
    ferrevent: f64,
    ratio: f64,
}

fn measure(programs: &Programs, group: &str, n: u32, rounds: usize) -> Result<Vec<Row>, String> {
    // By row: what each contestant took, round by round.
    let mut taken: Vec<(String, [Vec<f64>; 2])> = Vec::new();
    for round in 0..rounds {
        for turn in 0..CONTESTANTS.len() {
            let at = (turn + round) % CONTESTANTS.len();
            for (index, (name, cost)) in one(programs, CONTESTANTS[at], group, n)?
                .into_iter()
                .enumerate()
            {
                if taken.len() == index {
                    taken.push((name, Default::default()));
                }
                taken[index].1[at].push(cost);
            }
        }
    }
    let rows = taken.into_iter().map(|(name, [libevent, ferrevent])| Row {
        name,
        ratio: median(
            ferrevent
                .iter()
                .zip(&libevent)
                .map(|(f, l)| f / l)
                .collect(),
        ),
        libevent: median(libevent),
        ferrevent: median(ferrevent),
    });
    Ok(rows.collect())
}

/// The rows of one run, with the cost of one operation.
fn one(
    programs: &Programs,
    on: Contestant,
    group: &str,
    n: u32,
) -> Result<Vec<(String, f64)>, String> {
    let mut command = programs.command("base_costs", on);
    command.args([group, &format!("n={n}"), &format!("cpu={CPU}")]);
    let text = output(&mut command)?;
    let mut lines = text.lines();
    check_library(lines.next().unwrap_or_default(), on, &programs.library)?;
    lines
        .map(|line| parse(line).map(|(name, operations, amount)| (name, amount / operations)))
        .collect()
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = run_limited(command, LIMIT)?;
    if !output.status.success() {
        return Err(format!(
            "base_costs: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check_library(file: &str, on: Contestant, ours: &Path) -> Result<(), String> {
    if Path::new(file).starts_with(ours) == (on == Contestant::Ferrevent) {
        return Ok(());
    }
    Err(format!("meant for {on:?}, but its library is {file:?}"))
}

/// A line of the program's: the row, how many operations, and what they took altogether.
fn parse(line: &str) -> Result<(String, f64, f64), String> {
    let bad = || format!("not a row: {line:?}");
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [name, operations, amount] = parts.as_slice() else {
        return Err(bad());
    };
    let number = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|n| *n > 0.0)
            .ok_or_else(bad)
    };
    Ok(((*name).to_owned(), number(operations)?, number(amount)?))
}

/// How many instructions an operation of each row takes, on both.
fn instructions(
    programs: &Programs,
    group: &str,
    n: u32,
) -> Result<[BTreeMap<String, f64>; 2], String> {
    let [libevent, ferrevent] = CONTESTANTS.map(|on| count(programs, on, group, n));
    Ok([libevent?, ferrevent?])
}

fn count(
    programs: &Programs,
    on: Contestant,
    group: &str,
    n: u32,
) -> Result<BTreeMap<String, f64>, String> {
    let profile = programs
        .dir
        .join(format!("callgrind-{}.out", std::process::id()));
    let plain = programs.command("base_costs", on);
    let mut command = Command::new("valgrind");
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()));
    command
        .arg(plain.get_program())
        .args([group, &format!("n={n}"), "passes=20"]);
    let text = output(&mut command)?;
    let annotated = output(
        Command::new("callgrind_annotate")
            .args(["--inclusive=yes", "--threshold=100"])
            .arg(&profile),
    )?;
    let _ = std::fs::remove_file(&profile); // It lies in the target folder, and the next one has another name.
    let mut counts = BTreeMap::new();
    for line in text.lines().skip(1) {
        let (name, operations, _) = parse(line)?;
        if let Some(total) = inclusive(&annotated, &name) {
            counts.insert(name, total / operations);
        }
    }
    Ok(counts)
}

/// The instructions of `row_NAME` and what it calls: `  1,234 (5.6%)  file:row_NAME [program]`.
fn inclusive(annotated: &str, row: &str) -> Option<f64> {
    let function = format!(":row_{row} ");
    let line = annotated.lines().find(|line| line.contains(&function))?;
    line.split_whitespace()
        .next()?
        .replace(',', "")
        .parse()
        .ok()
}

fn title(row: &str) -> &str {
    match row {
        "add_del" => "add and delete a descriptor's event, within a pass",
        "re_add" => "add one that is added",
        "dispatch" => "dispatch an event, 100 being ready",
        "active" => "`event_active` and its call",
        "once" => "`event_base_once` and its call",
        "new_free" => "`event_new`, `event_free`",
        "idle_pass" => "a pass with nothing to do",
        "timer_add" => "timer: add",
        "timer_re_add" => "timer: add again, at random",
        "timer_push_back" => "timer: push back",
        "timer_del" => "timer: delete",
        "timer_del_pushed" => "timer: delete, all pushed back before",
        "timer_fire" => "timer: fire",
        "pair" => "a message of 64 bytes through a pair, four on their way",
        "filter" => "the same, with a filter at the receiving end",
        "descriptor_event" => "event on a descriptor of its own, added",
        "timer_event" => "timer, added",
        "idle_bufferevent" => "bufferevent on a socket, idle",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        assert_eq!(
            parse("timer_add 10 25").unwrap(),
            ("timer_add".to_owned(), 10.0, 25.0)
        );
        assert!(parse("timer_add 10").is_err() && parse("timer_add 0 1").is_err());
        let annotated = "1,234,567 (99.0%)  benches/base_costs.c:row_timer_add [base_costs]\n\
                         9 ( 1.0%)  benches/base_costs.c:row_timer_add_more [base_costs]";
        assert_eq!(inclusive(annotated, "timer_add"), Some(1_234_567.0));
        assert_eq!(inclusive(annotated, "timer"), None);
    }
}
