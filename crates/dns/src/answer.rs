//! What a look-up ends with.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::{AddressError, AddressList, LookupKey, Name};

/// A look-up is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Which one; the key is not valid any more.
    pub key: LookupKey,
    /// How.
    pub result: LookupResult,
    /// For how many seconds the result may be kept; 0 for failures that may not.
    pub ttl: u32,
}

/// The result of one of the two kinds of look-ups.
#[derive(Clone, Debug, PartialEq)]
pub enum LookupResult {
    /// Of [`look_up`](crate::Resolver::look_up).
    Records(Result<Answer, Failure>),
    /// Of [`get_address_info`](crate::Resolver::get_address_info).
    Addresses(Result<AddressList, AddressError>),
}

/// Records that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records of the type that was asked for; at least one.
    pub records: Records,
    /// For how many seconds they may be kept.
    pub ttl: u32,
    /// The name that the records belong to: the last of the chain of aliases, or the name that was asked for.
    pub canonical: Name,
}

/// Records of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Type A.
    Ipv4(Vec<Ipv4Addr>),
    /// Type AAAA.
    Ipv6(Vec<Ipv6Addr>),
    /// Type PTR.
    Names(Vec<Name>),
}

/// Why a look-up found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The server did not understand the query.
    #[error("the name server could not interpret the query")]
    Format,
    /// The server failed.
    #[error("the name server suffered a failure")]
    ServerFailed,
    /// There is no such name.
    #[error("the name does not exist")]
    NotExist,
    /// The server does not know this kind of query.
    #[error("the name server does not support this kind of query")]
    NotImplemented,
    /// The server does not want to answer.
    #[error("the name server refused to answer")]
    Refused,
    /// The answer was cut short, and there is no way to get the rest.
    #[error("the answer was truncated")]
    Truncated,
    /// The server gave an error that has no name, or an answer that makes no sense.
    #[error("an unknown error of the name server, or a malformed answer")]
    Unknown,
    /// No server has answered in time.
    #[error("no name server has answered in time")]
    Timeout,
    /// The resolver was shut down.
    #[error("the resolver was shut down")]
    Shutdown,
    /// The look-up was cancelled.
    #[error("the look-up was cancelled")]
    Cancelled,
    /// The name exists, but has no record of this type.
    #[error("the name has no record of this type")]
    NoData,
}

impl Failure {
    /// libevent's number for it, `DNS_ERR_...`.
    pub fn code(self) -> i32 {
        match self {
            Self::Format => 1,
            Self::ServerFailed => 2,
            Self::NotExist => 3,
            Self::NotImplemented => 4,
            Self::Refused => 5,
            Self::Truncated => 65,
            Self::Unknown => 66,
            Self::Timeout => 67,
            Self::Shutdown => 68,
            Self::Cancelled => 69,
            Self::NoData => 70,
        }
    }
}
