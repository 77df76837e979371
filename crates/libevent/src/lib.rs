//! `libevent-2.1.so.7`: the functions of `ferrevent-capi`, linked as a shared library.
//!
//! They are exported because they are `#[no_mangle]`; naming the crate here is what links it.
//! A variadic function is written in C, which the linker does not export: such a function is a
//! naked Rust function that jumps to it.

extern crate ferrevent_capi as _;
