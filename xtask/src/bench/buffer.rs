//! `cargo xtask bench buffer`: what the operations of `event2/buffer.h` cost on libevent and on ferrevent.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{
    apt_install, compile_c_with, library, run as run_limited, target_dir, with_library,
    workspace_root,
};

use super::report::median;
use super::{QUICK_ROUNDS, save};

/// The machine is shared with other work: many short rounds in turn.
const ROUNDS: usize = 11;
/// How long the whole program may take, also under valgrind.
const LIMIT: Duration = Duration::from_secs(300);
/// Of so many operations, one is done under valgrind.
const DIVISOR: u64 = 100;
/// Where valgrind's header is.
const CALLGRIND_HEADER: &str = "/usr/include/valgrind/callgrind.h";

/// One operation on one library.
#[derive(Clone, Copy, Default)]
struct Cost {
    ns: f64,
    instructions: Option<f64>,
}

/// A line of the table.
struct Row {
    name: String,
    stock: Cost,
    ours: Cost,
    /// Ours to libevent's, the median of the ratios of the rounds.
    ratio: f64,
}

pub(super) fn run(args: &[&str]) -> Result<(), String> {
    let quick = args.contains(&"--quick");
    // Without valgrind the instructions are left out.
    let counted =
        !quick && apt_install(&["valgrind"]).is_ok() && Path::new(CALLGRIND_HEADER).exists();
    let program = target_dir()?.join("bench").join("buffer");
    let flags: &[&str] = if counted { &["-DWITH_CALLGRIND"] } else { &[] };
    let source = workspace_root().join("benches").join("buffer.c");
    compile_c_with(&[source], &program, &["event"], flags)?;
    let library = library()?;
    let sides = Sides {
        program: &program,
        library: &library,
    };
    sides.check()?;
    let rounds = if quick { QUICK_ROUNDS } else { ROUNDS };
    let mut rows = measure(&sides, rounds)?;
    if counted {
        for row in &mut rows {
            row.stock.instructions = Some(sides.instructions(&row.name, false)?);
            row.ours.instructions = Some(sides.instructions(&row.name, true)?);
        }
    }
    let page = page(&rows, &heap(&sides)?, rounds);
    save(
        if quick {
            "buffer-quick.md"
        } else {
            "buffer.md"
        },
        &page,
    )?;
    println!("{page}");
    Ok(())
}

/// The program on either library.
struct Sides<'a> {
    program: &'a Path,
    library: &'a Path,
}

impl Sides<'_> {
    fn command(&self, ours: bool, through: Option<&mut Command>) -> Command {
        let mut command = match through {
            None => Command::new(self.program),
            Some(tool) => {
                let mut command = Command::new(tool.get_program());
                command.args(tool.get_args()).arg(self.program);
                command
            }
        };
        command.env_remove("LD_LIBRARY_PATH");
        if ours {
            with_library(&mut command, self.library);
        }
        command
    }

    /// Makes sure that each side runs on the library that it is meant to: the loader says what it would load.
    fn check(&self) -> Result<(), String> {
        for ours in [false, true] {
            let mut command = self.command(ours, None);
            let output = run_limited(command.env("LD_TRACE_LOADED_OBJECTS", "1"), LIMIT)?;
            let loaded = String::from_utf8_lossy(&output.stdout).into_owned();
            if loaded.contains(&format!("{}/", self.library.display())) != ours {
                return Err(format!("the wrong library would be loaded:\n{loaded}"));
            }
        }
        Ok(())
    }

    /// The lines that it prints, each with its numbers.
    fn lines(&self, what: &str, ours: bool) -> Result<Vec<(String, Vec<f64>)>, String> {
        let output = run_limited(self.command(ours, None).arg(what), LIMIT)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, words.filter_map(|word| word.parse().ok()).collect()))
        });
        Ok(lines.collect())
    }

    /// Of one operation.
    fn instructions(&self, row: &str, ours: bool) -> Result<f64, String> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--callgrind-out-file=/dev/null",
        ]);
        let mut command = self.command(ours, Some(&mut valgrind));
        command.arg(row).arg(format!("divisor={}", divisor(row)));
        let output = run_limited(&mut command, LIMIT)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let operations = printed.split_whitespace().nth(1);
        let operations: Option<f64> = operations.and_then(|count| count.parse().ok());
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected :")?.1.trim().parse::<f64>().ok());
        match (operations, collected) {
            (Some(operations), Some(collected)) if operations > 0.0 => Ok(collected / operations),
            _ => Err(format!("callgrind on {row}: {said}")),
        }
    }
}

/// Those of few but long operations stay long.
fn divisor(row: &str) -> u64 {
    if row.starts_with("search") {
        8
    } else {
        DIVISOR
    }
}

/// Both sides in turn; the one that begins changes from round to round.
fn measure(sides: &Sides<'_>, rounds: usize) -> Result<Vec<Row>, String> {
    let mut times: Vec<(String, Vec<[f64; 2]>)> = Vec::new();
    for round in 0..rounds {
        let mut both = [Vec::new(), Vec::new()];
        for turn in 0..2 {
            let side = (turn + round) % 2;
            both[side] = sides.lines("all", side == 1)?;
        }
        let [stock, ours] = both;
        for (index, ((name, stock), (_, ours))) in stock.into_iter().zip(ours).enumerate() {
            let each = |numbers: &[f64]| match numbers {
                [operations, ns] if *operations > 0.0 => Ok(ns / operations),
                _ => Err(format!("{name}: not two numbers")),
            };
            let pair = [each(&stock)?, each(&ours)?];
            match times.get_mut(index) {
                Some((_, rounds)) => rounds.push(pair),
                None => times.push((name, vec![pair])),
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    let rows = times.into_iter().map(|(name, rounds)| {
        let over = |f: &dyn Fn(&[f64; 2]) -> f64| median(rounds.iter().map(f).collect());
        let cost = |ns| Cost {
            ns,
            instructions: None,
        };
        Row {
            name,
            stock: cost(over(&|[stock, _]| *stock)),
            ours: cost(over(&|[_, ours]| *ours)),
            ratio: over(&|[stock, ours]| ours / stock),
        }
    });
    Ok(rows.collect())
}

/// Name, libevent's bytes, ours.
fn heap(sides: &Sides<'_>) -> Result<Vec<(String, f64, f64)>, String> {
    let (stock, ours) = (sides.lines("heap", false)?, sides.lines("heap", true)?);
    let both = stock.into_iter().zip(ours);
    let rows =
        both.filter_map(|((name, stock), (_, ours))| Some((name, *stock.first()?, *ours.first()?)));
    Ok(rows.collect())
}

/// The Markdown page.
fn page(rows: &[Row], heap: &[(String, f64, f64)], rounds: usize) -> String {
    let mut page = format!(
        "CPU time and instructions of one operation (of `search` and `search_eol`: of a MiB); medians of {rounds} \
         rounds in turn, the ratios taken within a round.\n\n\
         | operation | libevent: ns | ferrevent: ns | **time** | libevent: instructions | ferrevent: instructions | \
         instructions |\n|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for row in rows {
        let _ = write!(
            page,
            "| `{}` | {:.1} | {:.1} | **{:.2}×** ",
            row.name, row.stock.ns, row.ours.ns, row.ratio
        );
        let _ = match (row.stock.instructions, row.ours.instructions) {
            (Some(stock), Some(ours)) => {
                writeln!(page, "| {stock:.0} | {ours:.0} | {:.2}× |", ours / stock)
            }
            _ => writeln!(page, "| | | |"),
        };
    }
    page.push_str("\n| heap bytes for each | libevent | ferrevent | |\n|---|---:|---:|---:|\n");
    for (name, stock, ours) in heap {
        let name = name.replace('_', " ");
        let _ = writeln!(
            page,
            "| {name} | {stock:.2} | {ours:.2} | {:.2}× |",
            ours / stock
        );
    }
    page
}
