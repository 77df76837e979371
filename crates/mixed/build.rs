//! Says against which library to link: libevent's own, or ferrevent's under the same name.

fn main() {
    println!("cargo::rerun-if-env-changed=FERREVENT_LIB_DIR");
    // Otherwise where the linker looks by itself, which is where libevent-dev puts it.
    if let Some(dir) = std::env::var_os("FERREVENT_LIB_DIR") {
        println!("cargo::rustc-link-search=native={}", dir.display());
    }
    println!("cargo::rustc-link-lib=dylib=event");
}
