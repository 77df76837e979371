//! The time as HTTP writes it.

use std::fmt;

/// A time to the second, as the header `Date` has it: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// ```
/// use ferrevent_http::Date;
///
/// assert_eq!(Date::new(784_111_777).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date {
    text: [u8; 29],
    seconds: u64,
}

/// The last second of the year 9999, after which the text would need more room.
const LAST: u64 = 253_402_300_799;

impl Date {
    /// So many seconds after the beginning of 1970, in UTC. What is after the year 9999 is its last second.
    pub fn new(unix_seconds: u64) -> Self {
        let seconds = unix_seconds.min(LAST);
        let days = seconds / 86_400;
        let (year, month, day) = civil(days);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        text[..3].copy_from_slice(three(b"ThuFriSatSunMonTueWed", days % 7));
        two_digits(&mut text[5..7], day);
        text[8..11].copy_from_slice(three(b"JanFebMarAprMayJunJulAugSepOctNovDec", month));
        two_digits(&mut text[12..14], year / 100);
        two_digits(&mut text[14..16], year % 100);
        two_digits(&mut text[17..19], seconds / 3600 % 24);
        two_digits(&mut text[20..22], seconds / 60 % 60);
        two_digits(&mut text[23..25], seconds % 60);
        Self { text, seconds }
    }

    /// The seconds since the beginning of 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.seconds
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

impl Default for Date {
    /// The beginning of 1970.
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Year, month (from 0) and day (from 1) of a day after the beginning of 1970.
///
/// The year is taken to begin with March, so that the day that comes every four years is its last one; then the
/// lengths of the months follow a straight line.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0; 146097 days are 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let january = u64::from(month >= 10);
    (era * 400 + year + january, (month + 2) % 12, day)
}

fn three(names: &[u8], index: u64) -> &[u8] {
    // The callers' indices are remainders of the number of names.
    let start = index as usize * 3;
    &names[start..start + 3]
}

fn two_digits(place: &mut [u8], number: u64) {
    place[0] = b'0' + (number / 10 % 10) as u8;
    place[1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_is_right() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(Date::new(seconds).to_string(), text);
        }
    }
}
