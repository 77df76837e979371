//! Replies.

use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::{HashCompressor, MessageBuilder, PushError};
use domain::base::rdata::ComposeRecordData;
use domain::base::wire::Composer;
use domain::base::{Question, RecordData, Ttl};
use thiserror::Error;

use super::{AskedQuestion, OWN_DATAGRAM, Request};
use crate::Name;

/// The bytes of an OPT record without options.
const OPT_LEN: usize = 11;

/// The part of a reply that a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who knows about it.
    Authority,
    /// What else may help.
    Additional,
}

/// A record of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name that it belongs to.
    pub owner: Name,
    /// Its type, `EVDNS_TYPE_...`.
    pub rtype: u16,
    /// Its class, 1 for the Internet.
    pub class: u16,
    /// For how many seconds it may be kept.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// The contents of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// As they go out.
    Bytes(Vec<u8>),
    /// A name, which may be compressed.
    Name(Name),
}

/// A record that is too long for any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record with more than 65535 bytes")]
pub struct BadRecord;

/// The reply to a request, as it is put together.
#[derive(Clone, Debug)]
pub struct Reply {
    id: u16,
    flags: u16,
    questions: Vec<AskedQuestion>,
    edns: bool,
    sections: [Vec<Record>; 3],
}

/// `QR`: this is a reply.
const IS_REPLY: u16 = 0x8000;

/// `TC`: something had to be left out.
const TRUNCATED: u16 = 0x0200;

impl Reply {
    /// A reply without records.
    pub fn new(request: &Request) -> Self {
        Self {
            id: request.id,
            flags: request.flags,
            questions: request.questions.clone(),
            edns: request.edns.is_some(),
            sections: Default::default(),
        }
    }

    /// Adds flags to its header.
    pub fn set_flags(&mut self, flags: u16) {
        self.flags |= flags;
    }

    /// Adds a record to a section, behind the others.
    ///
    /// # Errors
    /// If it has too many bytes.
    pub fn add(&mut self, section: Section, record: Record) -> Result<(), BadRecord> {
        if let Data::Bytes(bytes) = &record.data
            && u16::try_from(bytes.len()).is_err()
        {
            return Err(BadRecord);
        }
        self.sections[section as usize].push(record);
        Ok(())
    }

    /// The message with this code (0 to 15), of no more than `limit` bytes. Records that find no room are left out, and
    /// with them all that come later; the counts are right, and a flag says that something is missing. `None` if the code
    /// is out of range.
    pub fn to_bytes(&self, code: u16, limit: usize) -> Option<Vec<u8>> {
        if code > 15 {
            return None;
        }
        // Space for the header is always there; nobody can use less than that.
        let limit = limit.max(512);
        let target = HashCompressor::new(Vec::new());
        let mut builder = MessageBuilder::from_target(target).ok()?;
        let reserved = if self.edns { OPT_LEN } else { 0 };
        builder.set_push_limit(limit - reserved);
        let mut whole = true;
        let mut questions = builder.question();
        for asked in &self.questions {
            let (rtype, class) = (Rtype::from_int(asked.rtype), Class::from_int(asked.class));
            whole = whole && pushed(questions.push(Question::new(asked.name.wire(), rtype, class)));
        }
        let [answers, authorities, additions] = &self.sections;
        let mut answer = questions.answer();
        for record in answers {
            whole = whole && pushed(answer.push(record.parts()));
        }
        let mut authority = answer.authority();
        for record in authorities {
            whole = whole && pushed(authority.push(record.parts()));
        }
        let mut additional = authority.additional();
        for record in additions {
            whole = whole && pushed(additional.push(record.parts()));
        }
        if self.edns {
            additional.set_push_limit(limit);
            // Its place was kept free.
            let _ = additional.opt(|opt| {
                opt.set_udp_payload_size(OWN_DATAGRAM);
                Ok(())
            });
        }
        let mut bytes = additional.finish().into_target();
        let cut = if whole { 0 } else { TRUNCATED };
        let flags = IS_REPLY | self.flags | cut | code;
        bytes[..2].copy_from_slice(&self.id.to_be_bytes());
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        Some(bytes)
    }
}

fn pushed(result: Result<(), PushError>) -> bool {
    result.is_ok()
}

impl Record {
    fn parts(&self) -> domain::base::Record<&domain::base::Name<Vec<u8>>, Contents<'_>> {
        domain::base::Record::new(
            self.owner.wire(),
            Class::from_int(self.class),
            Ttl::from_secs(self.ttl),
            Contents(self),
        )
    }
}

/// A record's contents, as the crate `domain` writes them.
struct Contents<'a>(&'a Record);

impl RecordData for Contents<'_> {
    fn rtype(&self) -> Rtype {
        Rtype::from_int(self.0.rtype)
    }
}

impl ComposeRecordData for Contents<'_> {
    fn rdlen(&self, _compress: bool) -> Option<u16> {
        match &self.0.data {
            Data::Bytes(bytes) => u16::try_from(bytes.len()).ok(),
            Data::Name(_) => None,
        }
    }

    fn compose_rdata<Target: Composer + ?Sized>(
        &self,
        target: &mut Target,
    ) -> Result<(), Target::AppendError> {
        match &self.0.data {
            Data::Bytes(bytes) => target.append_slice(bytes),
            Data::Name(name) => target.append_compressed_name(name.wire()),
        }
    }

    fn compose_canonical_rdata<Target: Composer + ?Sized>(
        &self,
        target: &mut Target,
    ) -> Result<(), Target::AppendError> {
        self.compose_rdata(target)
    }
}
