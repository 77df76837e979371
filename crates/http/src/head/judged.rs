//! What the lines of a head say, and whether they may.

use super::lines::Mode;
use super::{FieldSpan, RequestLine, Span, StatusLine};
use crate::body::{Codings, Length};
use crate::header::{self, Kind};
use crate::message::BadMessage;

/// The parts of a head, as places in the block of its lines.
#[derive(Debug, Default)]
pub(super) struct Judged {
    start: Start,
    fields: Vec<FieldSpan>,
    known: Known,
}

#[derive(Clone, Copy, Debug, Default)]
enum Start {
    #[default]
    Missing,
    Request(RequestLine),
    Response(StatusLine),
}

/// What the fields say that HTTP itself has to know; gathered while they are read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// How many `Host` there are, 2 standing for any more, and for one that is none.
    pub(crate) hosts: u8,
    pub(crate) length: Length,
    pub(crate) codings: Codings,
    pub(crate) connection: header::Connection,
    pub(crate) expect: Expect,
}

/// What the client waits for before it sends the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expect {
    #[default]
    Nothing,
    Continue,
    Unknown,
}

/// Memory for more fields is not kept for the next head.
const KEPT: usize = 256;

/// So many fields are enough. Each costs its reader a multiple of the few bytes that it needs at least.
pub(super) const MOST_FIELDS: usize = 10_000;

impl Judged {
    pub(super) fn clear(&mut self) {
        if self.fields.capacity() > KEPT {
            self.fields = Vec::new();
        }
        self.fields.clear();
        self.start = Start::Missing;
        self.known = Known::default();
    }

    pub(super) fn fields(&self) -> &[FieldSpan] {
        &self.fields
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    pub(super) fn request_line(&self) -> Option<&RequestLine> {
        match &self.start {
            Start::Request(line) => Some(line),
            _ => None,
        }
    }

    pub(super) fn status_line(&self) -> Option<&StatusLine> {
        match &self.start {
            Start::Response(line) => Some(line),
            _ => None,
        }
    }

    fn has_start(&self) -> bool {
        !matches!(self.start, Start::Missing)
    }

    /// The next line, without its end, which is in the block from `start` on. Whether it is the one that ends the head.
    pub(super) fn take(
        &mut self,
        line: &[u8],
        start: usize,
        mode: Mode,
    ) -> Result<bool, BadMessage> {
        if self.has_start() {
            return match line {
                [] => Ok(true),
                line => self.take_field(line, start, mode).map(|()| false),
            };
        }
        self.start = match mode {
            Mode::Request => Start::Request(RequestLine::parse(line)?),
            _ => Start::Response(StatusLine::parse(line)?),
        };
        Ok(false)
    }

    fn take_field(&mut self, line: &[u8], start: usize, mode: Mode) -> Result<(), BadMessage> {
        let (name, value) = field(line, mode)?;
        if mode == Mode::Trailer {
            return Ok(());
        }
        if self.fields.len() == MOST_FIELDS {
            return Err(BadMessage::HeadTooLong);
        }
        self.known.note(name, &line[value.0..value.1]);
        self.fields.push(FieldSpan {
            name: Span::new(start, start + name.len()),
            value: Span::new(start + value.0, start + value.1),
        });
        Ok(())
    }

    /// The line at the end of the block, from `start` on, belongs to the value of the field before it.
    pub(super) fn go_on(
        &mut self,
        block: &mut Vec<u8>,
        start: usize,
        mode: Mode,
    ) -> Result<(), BadMessage> {
        let Some(field) = self.fields.last_mut() else {
            return Err(match self.start {
                Start::Missing => BadMessage::FirstLine,
                _ => BadMessage::Fold,
            });
        };
        if mode != Mode::Response {
            return Err(BadMessage::Fold);
        }
        let line = &block[start..];
        if !header::is_value(line) {
            return Err(BadMessage::FieldValue);
        }
        // It has been noted already; and that some see more of it than others is what smugglers want.
        if Kind::of(field.name.of(block)).ends_messages() {
            return Err(BadMessage::Fold);
        }
        let (from, to) = header::trim(line);
        if from == to {
            block.truncate(start);
            return Ok(());
        }
        // There is room for the space: this line begins with at least one blank.
        let value_end = field.value.end as usize;
        let separator = usize::from(field.value.start != field.value.end);
        if let Some(place) = block.get_mut(value_end) {
            *place = b' ';
        }
        let target = value_end + separator;
        block.copy_within(start + from..start + to, target);
        if separator == 0 {
            field.value.start = target as u32;
        }
        field.value.end = (target + to - from) as u32;
        block.truncate(target + to - from);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.fields.capacity()
    }
}

impl Known {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        match Kind::of(name) {
            Kind::Host if !header::is_host(value) => self.hosts = 2,
            Kind::Host => self.hosts = (self.hosts + 1).min(2),
            Kind::Expect => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expect = match (self.expect, known) {
                    (Expect::Unknown, _) | (_, false) => Expect::Unknown,
                    _ => Expect::Continue,
                };
            }
            Kind::Connection => self.connection.note(value),
            Kind::Length => self.length.note(value),
            Kind::Codings => self.codings.note(value),
            Kind::Date | Kind::Type | Kind::ProxyConnection | Kind::Plain => {}
        }
    }
}

/// A field's name, and from where to where its value is. Blanks before the colon are refused, except those of old servers
/// in fields that say nothing about where the message ends.
fn field(line: &[u8], mode: Mode) -> Result<(&[u8], (usize, usize)), BadMessage> {
    let (name, rest) = line.split_at(header::token_len(line));
    let colon = match mode {
        Mode::Response if !Kind::of(name).ends_messages() => {
            let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
            rest.iter().take_while(is_blank).count()
        }
        _ => 0,
    };
    let ([_, ..], [b':', value @ ..]) = (name, &rest[colon..]) else {
        return Err(BadMessage::FieldName);
    };
    if !header::is_value(value) {
        return Err(BadMessage::FieldValue);
    }
    let before = name.len() + colon + 1;
    let (from, to) = header::trim(value);
    Ok((name, (before + from, before + to)))
}
