//! From measurements to a table.

use std::fmt::Write as _;

use super::cell::{Cell, MEASURED};

/// What the load generator says about one run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Messages echoed in a second.
    pub(super) rate: f64,
    /// Nanoseconds of the server's CPU for each.
    pub(super) cpu: f64,
}

impl Measured {
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let numbers: Option<Vec<f64>> = line.split_whitespace().map(|n| n.parse().ok()).collect();
        match numbers.as_deref() {
            Some([messages, ns, cpu]) if *messages > 0.0 && *ns > 0.0 => Ok(Self {
                rate: messages / ns * 1e9,
                cpu: cpu / messages,
            }),
            _ => Err(format!("no message came back: {line:?}")),
        }
    }
}

/// A line of the table: medians over the rounds. A ratio is taken within each round.
#[derive(Debug)]
pub(super) struct Row {
    cell: Cell,
    /// Of the bare epoll server.
    epoll: Measured,
    /// CPU for each message, to bare epoll's.
    libevent_cpu: f64,
    ferrevent_cpu: f64,
    /// Messages in a second, to bare epoll's.
    libevent_rate: f64,
    ferrevent_rate: f64,
    /// ferrevent to libevent.
    cpu_to_libevent: f64,
    rate_to_libevent: f64,
}

impl Row {
    /// From rounds of bare epoll, libevent and ferrevent.
    pub(super) fn new(cell: Cell, rounds: &[[Measured; 3]]) -> Self {
        let over = |f: &dyn Fn(&[Measured; 3]) -> f64| median(rounds.iter().map(f).collect());
        Self {
            cell,
            epoll: Measured {
                rate: over(&|[e, _, _]| e.rate),
                cpu: over(&|[e, _, _]| e.cpu),
            },
            libevent_cpu: over(&|[e, l, _]| l.cpu / e.cpu),
            ferrevent_cpu: over(&|[e, _, f]| f.cpu / e.cpu),
            libevent_rate: over(&|[e, l, _]| l.rate / e.rate),
            ferrevent_rate: over(&|[e, _, f]| f.rate / e.rate),
            cpu_to_libevent: over(&|[_, l, f]| f.cpu / l.cpu),
            rate_to_libevent: over(&|[_, l, f]| f.rate / l.rate),
        }
    }

    /// For people who wait.
    pub(super) fn line(&self) -> String {
        format!(
            "{:>16}  cpu: libevent {:.2}x  ferrevent {:.2}x   rate to libevent {:.2}x",
            self.cell.to_string(),
            self.libevent_cpu,
            self.ferrevent_cpu,
            self.rate_to_libevent
        )
    }
}

/// The Markdown page.
pub(super) fn page(rows: &[Row], rounds: usize) -> String {
    let mut page = format!(
        "Echo server and load on one CPU; medians of {rounds} rounds in turn, at least {MEASURED} \
         ms each. Ratios are taken within a round; CPU is the server's, for one message.\n\n\
         | connections | message | depth | epoll: messages/s | epoll: CPU ns | libevent CPU | \
         **ferrevent CPU** | libevent msg/s | **ferrevent msg/s** | ferrevent to libevent: CPU | \
         msg/s |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for row in rows {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {:.0} | {:.0} | {:.2}× | **{:.2}×** | {:.2}× | **{:.2}×** | {:.2}× | \
             {:.2}× |",
            row.cell.connections,
            row.cell.size_text(),
            row.cell.depth,
            row.epoll.rate,
            row.epoll.cpu,
            row.libevent_cpu,
            row.ferrevent_cpu,
            row.libevent_rate,
            row.ferrevent_rate,
            row.cpu_to_libevent,
            row.rate_to_libevent,
        );
    }
    let worst = rows
        .iter()
        .max_by(|a, b| a.ferrevent_cpu.total_cmp(&b.ferrevent_cpu));
    let slowest = rows
        .iter()
        .min_by(|a, b| a.rate_to_libevent.total_cmp(&b.rate_to_libevent));
    if let (Some(worst), Some(slowest)) = (worst, slowest) {
        let _ = write!(
            page,
            "\nMost CPU against bare epoll: {:.2}× ({}). Least messages/s against libevent: \
             {:.2}× ({}).\n",
            worst.ferrevent_cpu, worst.cell, slowest.rate_to_libevent, slowest.cell
        );
    }
    page
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median(Vec::new()).is_nan());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_run_without_messages_is_an_error() {
        assert!(Measured::parse("0 400 100").is_err());
        assert!(Measured::parse("").is_err());
        let run = Measured::parse("1000 500000000 2000000\n").unwrap();
        assert_eq!((run.rate, run.cpu), (2000.0, 2000.0));
    }
}
