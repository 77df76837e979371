//! What the tests and `cargo xtask` share: the built library under its five sonames, C programs,
//! running both with time limits, and some of Debian's programs to put to work: memcached, PostgreSQL and tmux.

#![forbid(unsafe_code)]

mod black_hole;
mod cc;
mod folder;
mod library;
mod maps;
mod memcached;
mod namespace;
mod packages;
mod port;
mod postgres;
mod process;
mod tmux;

pub use black_hole::{HALF_REACHABLE, HOSTS, REACHABLE, in_black_hole};
pub use cc::{compile_c, compile_c_with};
pub use folder::Folder;
pub use library::{LIB_DIR_VARIABLE, SONAMES, library, target_dir, with_library, workspace_root};
pub use maps::mapped_libevent;
pub use memcached::{Memcached, MemcachedClient};
pub use namespace::in_own_network;
pub use packages::{Missing, apt_install};
pub use port::free_port;
pub use postgres::Postgres;
pub use process::{Server, run, run_with_input};
pub use tmux::Tmux;
