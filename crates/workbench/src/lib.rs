//! What the tests and `cargo xtask` share: the built library under its five sonames, C programs,
//! and running both with time limits.

#![forbid(unsafe_code)]

mod cc;
mod library;
mod maps;
mod packages;
mod process;

pub use cc::{compile_c, compile_c_with};
pub use library::{LIB_DIR_VARIABLE, SONAMES, library, target_dir, with_library, workspace_root};
pub use maps::mapped_libevent;
pub use packages::{Missing, apt_install};
pub use process::{Server, run, run_with_input};
