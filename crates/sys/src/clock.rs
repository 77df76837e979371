//! Clocks and timeouts.

use std::mem::MaybeUninit;
use std::time::Duration;

/// Longest wait that is asked of the kernel (some 24 days in milliseconds fit into an `i32`). A wait that ends early is
/// no error: the loop looks at its timers and waits again.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(2_000_000);

/// Nanoseconds of `CLOCK_MONOTONIC`. No system call where the kernel maps its clock (vDSO).
pub fn monotonic() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Time since the Unix epoch, of the clock that can be set.
pub fn realtime() -> Duration {
    let now = read(libc::CLOCK_REALTIME);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `now` is valid for writing a timespec.
    let result = unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) };
    // Both clocks exist on every Linux; the call has no other way to fail.
    assert_eq!(result, 0, "clock_gettime");
    // SAFETY: the call succeeded, so it has written the whole structure.
    unsafe { now.assume_init() }
}

/// A wait's timeout as `ppoll` and `pselect` take it.
pub(crate) fn timespec(timeout: Duration) -> libc::timespec {
    let timeout = timeout.min(LONGEST_WAIT);
    // SAFETY: all bytes zero is a valid timespec (it may have padding that cannot be named).
    let mut spec: libc::timespec = unsafe { std::mem::zeroed() };
    spec.tv_sec = timeout.as_secs() as libc::time_t;
    spec.tv_nsec = timeout.subsec_nanos() as _;
    spec
}

/// A wait's timeout in milliseconds as `epoll_wait` takes it, rounded up: a wait that ends before its timer is due
/// would make the loop spin.
pub(crate) fn millis(timeout: Option<Duration>) -> i32 {
    let Some(timeout) = timeout else { return -1 };
    if timeout.is_zero() {
        return 0;
    }
    let timeout = timeout.min(LONGEST_WAIT);
    timeout.as_secs() as i32 * 1000 + timeout.subsec_nanos().div_ceil(1_000_000) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_round_up() {
        assert_eq!(millis(None), -1);
        assert_eq!(millis(Some(Duration::ZERO)), 0);
        assert_eq!(millis(Some(Duration::from_nanos(1))), 1);
        assert_eq!(millis(Some(Duration::from_millis(7))), 7);
        assert_eq!(millis(Some(Duration::from_micros(7_001))), 8);
        assert!(millis(Some(Duration::MAX)) > 1_000_000_000);
    }

    #[test]
    fn monotonic_does_not_go_back() {
        let before = monotonic();
        assert!(monotonic() >= before);
    }

    #[test]
    fn timespec_keeps_nanoseconds() {
        let spec = timespec(Duration::new(3, 999_999_999));
        assert_eq!((spec.tv_sec, spec.tv_nsec), (3, 999_999_999));
        assert!(timespec(Duration::MAX).tv_sec > 1_000_000);
    }
}
