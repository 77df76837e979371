//! Gives the shared library the name and the link options that libevent's has.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in [
        // What programs ask the loader for.
        "-soname,libevent-2.1.so.7",
        // Our own symbols are bound when we are loaded, and cannot be redirected afterwards.
        "-z,now",
        "-z,relro",
        "-z,noexecstack",
        // Calls between our own functions stay inside the library, whatever the program defines.
        "-Bsymbolic-functions",
        // Nothing may be left for the loader to find in some other library by chance.
        "-z,defs",
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }
}
