//! Queries: `q=test&s=some+thing`.

use thiserror::Error;

use crate::percent::{self, Plus};

/// One `name=value` of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// As it stands there: libevent does not decode names, so neither does this. Never empty.
    pub name: &'a [u8],
    /// Decoded, with a space for each `+`. May be empty. Has no zero byte.
    pub value: Vec<u8>,
}

/// Why a query is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadQuery {
    /// Something without a `=`, or nothing at all, stands between two `&`.
    #[error("a part of the query has no value")]
    NoValue,
    /// Nothing stands before the `=`.
    #[error("a part of the query has no name")]
    NoName,
    /// A value has a zero byte in it. C would see only what is before it.
    #[error("a value of the query has a zero byte")]
    ZeroByte,
}

/// Takes a query apart, without the `?` before it. A name may be there several times; the order is kept. A `&` at the
/// very end is forgiven. (libevent: `evhttp_parse_query_str`.)
///
/// # Errors
/// If one of its parts is no `name=value`.
pub fn parse(query: &[u8]) -> Result<Vec<Pair<'_>>, BadQuery> {
    let query = match query.strip_suffix(b"&") {
        // A `&` that ends nothing.
        Some([]) => return Err(BadQuery::NoValue),
        Some(rest) => rest,
        None => query,
    };
    if query.is_empty() {
        return Ok(Vec::new());
    }
    query.split(|&byte| byte == b'&').map(Pair::parse).collect()
}

impl<'a> Pair<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, BadQuery> {
        let equals = text.iter().position(|&byte| byte == b'=');
        let (name, value) = text.split_at(equals.ok_or(BadQuery::NoValue)?);
        if name.is_empty() {
            return Err(BadQuery::NoName);
        }
        let value = percent::decode(&value[1..], Plus::Space);
        if value.contains(&0) {
            return Err(BadQuery::ZeroByte);
        }
        Ok(Self { name, value })
    }
}
