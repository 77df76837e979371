//! Queries as bytes, and what the bytes of a reply say.

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, ParsedName, ParsedRecord, UnknownRecordData};
use domain::rdata::{Cname, Ptr, Soa};

use crate::{Answer, Failure, Name, Records};

/// The longest datagram that is worth reading, in bytes.
pub(crate) const MAX_MESSAGE: usize = 65535;

/// More addresses than this are left out.
const MAX_RECORDS: usize = 256;

/// How many aliases lead from a name to another at most.
const MAX_ALIASES: usize = 16;

/// The types of records that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RecordType {
    A,
    Aaaa,
    Ptr,
}

impl RecordType {
    fn number(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Ptr => Rtype::PTR,
        }
    }
}

/// A query for one name and type. With `edns`, it says that replies of so many bytes are welcome.
pub(crate) fn query(id: u16, name: &Name, rtype: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    // One question cannot overflow a counter, and a vector has room for it.
    let _ = question.push((name.wire(), rtype.number()));
    let mut additional = question.additional();
    if let Some(size) = edns {
        let _ = additional.opt(|opt| {
            opt.set_udp_payload_size(size);
            Ok(())
        });
    }
    additional.finish()
}

/// A reply to one of our queries, as far as it is needed to find out to which.
pub(crate) struct Reply<'a> {
    message: &'a Message<[u8]>,
    question: Name,
    rtype: Rtype,
}

impl<'a> Reply<'a> {
    /// Reads header and question. `None` is for what cannot be a reply to a query of ours.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let message = Message::from_slice(bytes).ok()?;
        let header = message.header();
        if !header.qr() || header.opcode() != Opcode::QUERY {
            return None;
        }
        let question = message.sole_question().ok()?;
        if question.qclass() != Class::IN {
            return None;
        }
        Some(Self {
            message,
            question: Name::from_wire(question.qname()),
            rtype: question.qtype(),
        })
    }

    pub(crate) fn id(&self) -> u16 {
        self.message.header().id()
    }

    /// Whether it answers this question, with the case of letters as it was sent.
    pub(crate) fn is_about(&self, name: &Name, rtype: RecordType, exact_case: bool) -> bool {
        self.rtype == rtype.number()
            && if exact_case {
                self.question.is_same_bytes(name)
            } else {
                self.question == *name
            }
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.message.header().tc()
    }

    /// Whether the server says that it has failed.
    pub(crate) fn is_failure(&self) -> bool {
        self.message.header().rcode() == Rcode::SERVFAIL
    }

    /// What it says about the question, with the seconds for which a failure may be kept.
    pub(crate) fn result(&self, rtype: RecordType) -> Result<Answer, (Failure, u32)> {
        let failure = match self.message.header().rcode() {
            Rcode::NOERROR => return self.answer(rtype),
            Rcode::FORMERR => Failure::Format,
            Rcode::SERVFAIL => Failure::ServerFailed,
            Rcode::NXDOMAIN => return Err((Failure::NotExist, self.negative_ttl())),
            Rcode::NOTIMP => Failure::NotImplemented,
            Rcode::REFUSED => Failure::Refused,
            _ => Failure::Unknown,
        };
        Err((failure, 0))
    }

    fn answer(&self, rtype: RecordType) -> Result<Answer, (Failure, u32)> {
        let malformed = (Failure::Unknown, 0);
        let mut records = Vec::new();
        for record in self.message.answer().map_err(|_| malformed)? {
            let record = record.map_err(|_| malformed)?;
            if record.class() == Class::IN && records.len() < MAX_RECORDS {
                records.push(record);
            }
        }
        let (canonical, mut ttl) = self.follow_aliases(&records);
        let mut found = match rtype {
            RecordType::A => Records::Ipv4(Vec::new()),
            RecordType::Aaaa => Records::Ipv6(Vec::new()),
            RecordType::Ptr => Records::Names(Vec::new()),
        };
        let mut any = false;
        for record in &records {
            if record.rtype() != rtype.number() || Name::from_wire(&record.owner()) != canonical {
                continue;
            }
            any |= add(&mut found, record).map_err(|()| malformed)?;
            ttl = ttl.min(record.ttl().as_secs());
        }
        if !any {
            return Err((Failure::NoData, self.negative_ttl()));
        }
        Ok(Answer {
            records: found,
            ttl: bounded(ttl),
            canonical,
        })
    }

    /// The end of the chain of aliases that begins with the question, and the shortest life of its links.
    fn follow_aliases(&self, records: &[ParsedRecord<'_, [u8]>]) -> (Name, u32) {
        let mut name = self.question.clone();
        let mut ttl = u32::MAX;
        for _ in 0..MAX_ALIASES {
            let alias = records
                .iter()
                .filter(|record| record.rtype() == Rtype::CNAME)
                .find(|record| Name::from_wire(&record.owner()) == name);
            let Some(alias) = alias else { break };
            let Ok(Some(target)) = alias.to_record::<Cname<ParsedName<_>>>() else {
                break;
            };
            ttl = ttl.min(alias.ttl().as_secs());
            name = Name::from_wire(target.data().cname());
        }
        (name, ttl)
    }

    /// RFC 2308: how long the zone lets it be remembered that there is nothing; 0 if it does not say.
    fn negative_ttl(&self) -> u32 {
        let Ok(authority) = self.message.authority() else {
            return 0;
        };
        match authority.limit_to::<Soa<ParsedName<_>>>().next() {
            Some(Ok(record)) => bounded(record.ttl().min(record.data().minimum()).as_secs()),
            _ => 0,
        }
    }
}

/// RFC 2181: a time to live with the highest bit set is none.
fn bounded(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Adds what a record holds. False if that is nothing, an error if it is malformed.
fn add(found: &mut Records, record: &ParsedRecord<'_, [u8]>) -> Result<bool, ()> {
    match found {
        Records::Ipv4(list) => add_addresses(list, record, |bytes: [u8; 4]| Ipv4Addr::from(bytes)),
        Records::Ipv6(list) => add_addresses(list, record, |bytes: [u8; 16]| Ipv6Addr::from(bytes)),
        Records::Names(list) => {
            let Ok(Some(record)) = record.to_record::<Ptr<ParsedName<_>>>() else {
                return Err(());
            };
            let name = Name::from_wire(record.data().ptrdname());
            // A name that no text can stand for helps nobody, and has misled programs.
            if name.to_text().is_none() {
                return Ok(false);
            }
            list.push(name);
            Ok(true)
        }
    }
}

/// libevent's server puts several addresses into one record, and its resolver takes them all.
fn add_addresses<const N: usize, T>(
    list: &mut Vec<T>,
    record: &ParsedRecord<'_, [u8]>,
    make: impl Fn([u8; N]) -> T,
) -> Result<bool, ()> {
    let Ok(Some(record)) = record.to_record::<UnknownRecordData<_>>() else {
        return Err(());
    };
    let (whole, rest) = record.data().data().as_chunks::<N>();
    if !rest.is_empty() {
        return Err(());
    }
    let room = MAX_RECORDS.saturating_sub(list.len());
    list.extend(whole.iter().take(room).map(|bytes| make(*bytes)));
    Ok(!whole.is_empty())
}
