//! Names of hosts and zones.

use std::fmt;
use std::net::IpAddr;

use domain::base::name::{Label, NameBuilder, ToLabelIter, ToName};
use thiserror::Error;

/// The wire format's names, as the parser gives them.
type Wire = domain::base::Name<Vec<u8>>;

/// A full name: labels of 1 to 63 bytes, 255 bytes on the wire. Compares without regard to the case of ASCII letters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Wire);

/// Text that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    /// No text at all. (The root is written `.`.)
    #[error("an empty name")]
    Empty,
    /// Two dots in a row, or one at the beginning.
    #[error("a name with an empty label")]
    EmptyLabel,
    /// More than 63 bytes between two dots.
    #[error("a label of more than 63 bytes")]
    LongLabel,
    /// More than 255 bytes on the wire.
    #[error("a name of more than 255 bytes")]
    Long,
}

impl Name {
    /// From text: labels with dots between them, and perhaps one at the end. There is no escape character: every byte
    /// but the dot is part of a label, as in libevent.
    ///
    /// # Errors
    /// If it is no name.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, BadName> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text == b"." {
            return Ok(Self::root());
        }
        let text = text.strip_suffix(b".").unwrap_or(text);
        let mut builder = NameBuilder::new_vec();
        for label in text.split(|&byte| byte == b'.') {
            match label.len() {
                0 => return Err(BadName::EmptyLabel),
                1..=Label::MAX_LEN => {}
                _ => return Err(BadName::LongLabel),
            }
            builder.append_label(label).map_err(|_| BadName::Long)?;
        }
        builder.into_name().map(Self).map_err(|_| BadName::Long)
    }

    /// The root, `.`.
    pub fn root() -> Self {
        Self(Wire::root())
    }

    /// The name under which the name of an address is found: `4.3.2.1.in-addr.arpa`, or 32 digits and `ip6.arpa`.
    pub fn reverse(address: IpAddr) -> Self {
        let text = match address {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(ip) => {
                let mut text = String::with_capacity(72);
                for byte in ip.octets().iter().rev() {
                    text.push_str(&format!("{:x}.{:x}.", byte & 15, byte >> 4));
                }
                text + "ip6.arpa"
            }
        };
        // Both forms are far below the limits.
        Self::parse(text).unwrap_or_else(|_| Self::root())
    }

    /// This name with `domain` behind it.
    ///
    /// # Errors
    /// If that is too long.
    pub fn join(&self, domain: &Name) -> Result<Self, BadName> {
        let mut builder = NameBuilder::new_vec();
        for label in self.labels().chain(domain.labels()) {
            builder.append_label(label).map_err(|_| BadName::Long)?;
        }
        builder.into_name().map(Self).map_err(|_| BadName::Long)
    }

    /// The labels, without the root's empty one.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter_labels()
            .filter(|label| !label.is_root())
            .map(Label::as_slice)
    }

    /// As text, without a dot at the end; the root is empty. `None` if a label has a dot or a zero byte in it, so that
    /// the text would say something else.
    pub fn to_text(&self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        for label in self.labels() {
            if label.contains(&b'.') || label.contains(&0) {
                return None;
            }
            if !text.is_empty() {
                text.push(b'.');
            }
            text.extend_from_slice(label);
        }
        Some(text)
    }

    /// How many dots are between its labels.
    pub fn dots(&self) -> usize {
        self.labels().count().saturating_sub(1)
    }

    /// The same name with the case of each letter set by a bit of `random` (draft-vixie-dnsext-dns0x20).
    pub(crate) fn with_random_case(&self, random: &[u8]) -> Self {
        let mut bits = (0..random.len() * 8).map(|bit| random[bit / 8] >> (bit % 8) & 1 == 1);
        let mut builder = NameBuilder::new_vec();
        for label in self.labels() {
            let mixed: Vec<u8> = label
                .iter()
                .map(|byte| match (byte.is_ascii_alphabetic(), bits.next()) {
                    (true, Some(flip)) => byte ^ (u8::from(flip) << 5),
                    _ => *byte,
                })
                .collect();
            // The labels are as long as they were.
            let _ = builder.append_label(&mixed);
        }
        builder.into_name().map_or_else(|_| self.clone(), Self)
    }

    /// Whether the two agree in every byte, case included.
    pub(crate) fn is_same_bytes(&self, other: &Name) -> bool {
        self.0.as_octets() == other.0.as_octets()
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.0
    }

    pub(crate) fn from_wire(name: &impl ToName) -> Self {
        Self(name.to_name())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
