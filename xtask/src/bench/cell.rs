//! One load: so many connections, such messages, so many of them under way.

use std::fmt;
use std::str::FromStr;

/// A cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) connections: u64,
    /// Bytes of one message.
    pub(super) size: u64,
    /// Messages under way on each connection.
    pub(super) depth: u64,
}

/// Milliseconds that are measured, and that pass before, at least.
pub(super) const MEASURED: u64 = 400;
const WARM_UP: u64 = 100;

impl Cell {
    /// The whole table.
    pub(super) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for depth in [1, 16] {
            for size in [16, 512, 16 << 10, 256 << 10] {
                for connections in [1, 10, 100, 1000] {
                    cells.push(Self {
                        connections,
                        size,
                        depth,
                    });
                }
            }
        }
        cells
    }

    /// Enough of it to see a change.
    pub(super) fn few() -> Vec<Self> {
        [
            (1, 512, 1),
            (100, 512, 1),
            (100, 512, 16),
            (1, 16 << 10, 1),
            (100, 16 << 10, 1),
        ]
        .map(|(connections, size, depth)| Self {
            connections,
            size,
            depth,
        })
        .into()
    }

    /// Bytes under way in all connections together.
    fn bytes(self) -> u64 {
        self.connections
            .saturating_mul(self.size)
            .saturating_mul(self.depth)
    }

    /// It, as arguments of the load generator.
    pub(super) fn arguments(self) -> [String; 5] {
        // A MiB takes about a millisecond to and fro: all that is under way goes round before the
        // measurement and during it.
        let round = self.bytes() >> 20;
        [
            format!("warm={}", WARM_UP + round),
            format!("ms={}", MEASURED + 2 * round),
            format!("conns={}", self.connections),
            format!("size={}", self.size),
            format!("depth={}", self.depth),
        ]
    }

    /// The size as people write it.
    pub(super) fn size_text(self) -> String {
        match self.size {
            size if size % 1024 == 0 => format!("{} KiB", size / 1024),
            size => format!("{size} B"),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.connections, self.size, self.depth)
    }
}

impl FromStr for Cell {
    type Err = String;

    /// `100x512x1`: connections, bytes, depth; `k` after the bytes multiplies by 1024.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text}: a cell is CONNECTIONSxBYTESxDEPTH, for example 100x16kx1");
        let number = |part: &str| part.parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(bad);
        let parts: Vec<&str> = text.split('x').collect();
        let [connections, size, depth] = parts.as_slice() else {
            return Err(bad());
        };
        let size = match size.strip_suffix('k') {
            Some(kib) => number(kib)?.checked_mul(1024).ok_or_else(bad)?,
            None => number(size)?,
        };
        Ok(Self {
            connections: number(connections)?,
            size,
            depth: number(depth)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_as_they_are_written() {
        for cell in Cell::all() {
            assert_eq!(cell.to_string().parse(), Ok(cell));
        }
        assert_eq!("1x16kx1".parse::<Cell>().map(|c| c.size), Ok(16384));
        for bad in ["", "1x2", "0x1x1", "1x2x3x4", "1xkx1", "axbxc"] {
            assert!(bad.parse::<Cell>().is_err(), "{bad}");
        }
    }
}
