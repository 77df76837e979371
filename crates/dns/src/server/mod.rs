//! What a DNS server needs: requests are read, replies are written. Sockets are the shell's business.
//!
//! ```
//! use ferrevent_dns::server::{Data, Record, Reply, Request, Section};
//! # use ferrevent_dns::Name;
//! # let datagram = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x04test\0\0\x01\0\x01";
//! if let Some(request) = Request::parse(datagram) {
//!     let mut reply = Reply::new(&request);
//!     let owner = request.questions[0].name.clone();
//!     let data = Data::Bytes(vec![192, 0, 2, 7]);
//!     reply.add(Section::Answer, Record { owner, rtype: 1, class: 1, ttl: 300, data });
//!     let bytes = reply.to_bytes(0, request.datagram_limit());
//!     assert!(bytes.is_some_and(|bytes| bytes.len() == 42));
//! }
//! ```

mod reply;

pub use reply::{BadRecord, Data, Record, Reply, Section};

use domain::base::Message;

use crate::Name;

/// A request with more questions than this is not answered.
const MAX_QUESTIONS: usize = 64;

/// The longest reply that is sent in one datagram, whatever the client says it can take.
const MAX_DATAGRAM: u16 = 4096;

/// How large a datagram this server says that it can take.
const OWN_DATAGRAM: u16 = 1232;

/// The flags of a request that its reply repeats: recursion desired, checking disabled.
const REPEATED: u16 = 0x0110;

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's number for it.
    pub id: u16,
    /// Those flags of its header that the reply repeats (`RD`, `CD`).
    pub flags: u16,
    /// What is asked; at least one.
    pub questions: Vec<AskedQuestion>,
    /// How large a datagram the client takes, if it says so (EDNS).
    pub edns: Option<u16>,
}

/// One question of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedQuestion {
    /// The name, in the case in which it came. It can be written as text.
    pub name: Name,
    /// The type of records, `EVDNS_TYPE_...`.
    pub rtype: u16,
    /// The class, 1 for the Internet.
    pub class: u16,
}

impl Request {
    /// Reads a message. `None` is for what is to be dropped without an answer: fewer bytes than a header has, a reply,
    /// no question, one that is cut off or malformed, or a name that no text can stand for.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_slice(bytes).ok()?;
        let header = message.header();
        if header.qr() {
            return None;
        }
        let count = usize::from(message.header_counts().qdcount());
        if count == 0 || count > MAX_QUESTIONS {
            return None;
        }
        let mut questions = Vec::with_capacity(count);
        for question in message.question() {
            let question = question.ok()?;
            let name = Name::from_wire(question.qname());
            name.to_text()?;
            questions.push(AskedQuestion {
                name,
                rtype: question.qtype().to_int(),
                class: question.qclass().to_int(),
            });
        }
        let flags = u16::from_be_bytes([bytes[2], bytes[3]]) & REPEATED;
        Some(Self {
            id: header.id(),
            flags,
            questions,
            edns: message.opt().map(|opt| opt.udp_payload_size()),
        })
    }

    /// How long a reply may be that goes back in a datagram: 512 bytes, or what the client says that it takes.
    pub fn datagram_limit(&self) -> usize {
        usize::from(self.edns.unwrap_or(512).clamp(512, MAX_DATAGRAM))
    }

    /// How long a reply may be that goes back on a stream.
    pub fn stream_limit(&self) -> usize {
        usize::from(u16::MAX)
    }
}
