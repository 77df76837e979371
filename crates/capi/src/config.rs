//! `struct event_config`: how a base is to be made.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use ferrevent_core::Core;
use ferrevent_core::driver::Features;
use ferrevent_sys::{Method, Options, System};
use libc::timeval;

use crate::base::{CHost, event_base, new_base};
use crate::event::nanoseconds;
use crate::log;

/// What a base must have, and what it must not.
#[derive(Default)]
pub struct event_config {
    avoid: Vec<Method>,
    features: Features,
    flags: c_int,
    max_interval: Option<u64>,
    max_callbacks: Option<usize>,
    limit_from: usize,
}

const NOLOCK: c_int = 0x01;
const IGNORE_ENV: c_int = 0x02;
const EPOLL_USE_CHANGELIST: c_int = 0x10;
const PRECISE_TIMER: c_int = 0x20;

impl event_config {
    pub(crate) fn open_driver(&self) -> Option<System> {
        let mut avoid = self.avoid.clone();
        if self.flags & IGNORE_ENV == 0 {
            avoid.extend(Method::forbidden());
        }
        let driver = match self.wanted_driver(&avoid) {
            Some(driver) => driver,
            None => System::choose(&avoid, self.features, self.driver_options()).ok()?,
        };
        if std::env::var_os("EVENT_SHOW_METHOD").is_some() {
            log::message(&format!("libevent using: {}", driver.method().name()));
        }
        Some(driver)
    }

    /// A driver of the method that the environment asks for, if there is one to be had.
    fn wanted_driver(&self, avoid: &[Method]) -> Option<System> {
        if self.flags & IGNORE_ENV != 0 {
            return None;
        }
        let method = match Method::wanted()? {
            Ok(method) => method,
            Err(name) => {
                let variable = Method::WANTED;
                log::warn(&format!("{variable}: there is no method \"{name}\""));
                return None;
            }
        };
        match System::only(method, avoid, self.features, self.driver_options()) {
            Ok(driver) => Some(driver),
            Err(error) => {
                let (variable, name) = (Method::WANTED, method.name());
                log::warn(&format!(
                    "{variable}: {name} is not used for this base: {error}"
                ));
                None
            }
        }
    }

    pub(crate) fn driver_options(&self) -> Options {
        let by_env =
            self.flags & IGNORE_ENV == 0 && std::env::var_os("EVENT_PRECISE_TIMER").is_some();
        Options {
            precise: by_env || self.flags & PRECISE_TIMER != 0,
        }
    }

    pub(crate) fn limit(&self, core: &mut Core<CHost>) {
        core.set_dispatch_limits(self.max_callbacks, self.max_interval, self.limit_from);
    }

    pub(crate) fn lockless(&self) -> bool {
        self.flags & NOLOCK != 0
    }

    /// The driver's name, ending in NUL.
    pub(crate) fn method_name(&self, driver: &System) -> &'static str {
        match driver.method() {
            Method::Epoll if self.flags & EPOLL_USE_CHANGELIST != 0 => "epoll (with changelist)\0",
            Method::Epoll => "epoll\0",
            Method::Poll => "poll\0",
            Method::Select => "select\0",
            Method::IoUring => "io_uring\0",
        }
    }
}

/// `event_config_new`
#[unsafe(no_mangle)]
pub extern "C" fn event_config_new() -> *mut event_config {
    Box::into_raw(Box::default())
}

/// `event_config_free`
///
/// # Safety
/// `config` is NULL or came from [`event_config_new`], and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_free(config: *mut event_config) {
    if !config.is_null() {
        // SAFETY: by this function's contract.
        drop(unsafe { Box::from_raw(config) });
    }
}

/// `event_config_avoid_method`
///
/// # Safety
/// `config` is live; `method` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_avoid_method(
    config: *mut event_config,
    method: *const c_char,
) -> c_int {
    if config.is_null() || method.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    let (config, name) = unsafe { (&mut *config, CStr::from_ptr(method)) };
    config
        .avoid
        .extend(name.to_str().ok().and_then(Method::named));
    0
}

/// `event_config_require_features`
///
/// # Safety
/// `config` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_require_features(
    config: *mut event_config,
    features: c_int,
) -> c_int {
    if config.is_null() {
        return -1;
    }
    // What no method has is kept: then there will be no base.
    let features = Features::from_bits_retain(u8::try_from(features).unwrap_or(u8::MAX));
    // SAFETY: by this function's contract.
    unsafe { (*config).features = features };
    0
}

/// `event_config_set_flag`
///
/// # Safety
/// `config` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_set_flag(config: *mut event_config, flag: c_int) -> c_int {
    if config.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe { (*config).flags |= flag };
    0
}

/// `event_config_set_num_cpus_hint`: for Windows; nothing here needs it.
///
/// # Safety
/// `config` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_set_num_cpus_hint(
    config: *mut event_config,
    _cpus: c_int,
) -> c_int {
    if config.is_null() { -1 } else { 0 }
}

/// `event_config_set_max_dispatch_interval`
///
/// # Safety
/// `config` is live; `interval` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_set_max_dispatch_interval(
    config: *mut event_config,
    interval: *const timeval,
    callbacks: c_int,
    from_priority: c_int,
) -> c_int {
    if config.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    let (config, interval) = unsafe { (&mut *config, interval.as_ref()) };
    config.max_interval = interval.map(nanoseconds);
    config.max_callbacks = usize::try_from(callbacks).ok();
    config.limit_from = usize::try_from(from_priority).unwrap_or(0);
    0
}

/// `event_base_new_with_config`
///
/// # Safety
/// `config` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_new_with_config(
    config: *const event_config,
) -> *mut event_base {
    // SAFETY: by this function's contract.
    match unsafe { config.as_ref() } {
        Some(config) => new_base(config),
        None => new_base(&event_config::default()),
    }
}

/// Pointers to constant strings may be shared.
#[repr(transparent)]
struct Names([*const c_char; 4]);

// SAFETY: the strings are constant.
unsafe impl Sync for Names {}

static METHODS: Names = Names([
    c"epoll".as_ptr(),
    c"poll".as_ptr(),
    c"select".as_ptr(),
    ptr::null(),
]);

/// `event_get_supported_methods`: names, ended by NULL. Those that a base may have without being asked to.
#[unsafe(no_mangle)]
pub extern "C" fn event_get_supported_methods() -> *const *const c_char {
    METHODS.0.as_ptr()
}
