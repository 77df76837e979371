//! Looks up hosts, all at the same time, and prints their addresses as they come.
//!
//! ```text
//! cargo run --example resolve -- example.org localhost 192.0.2.1
//! ```

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use ferrevent::dns::Resolver;
use ferrevent::{Base, Result};

#[derive(Parser)]
#[command(about = "Looks up hosts")]
struct Arguments {
    /// Names, or addresses whose names are wanted
    #[arg(required = true)]
    hosts: Vec<String>,

    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDRESS:PORT")]
    server: Option<SocketAddr>,
}

/// How many of them are not known; kept in the base.
struct Unknown(usize);

fn print(base: &mut Base, host: &str, found: std::result::Result<Vec<String>, String>) {
    match found {
        Ok(found) => println!("{host}: {}", found.join(" ")),
        Err(error) => {
            println!("{host}: {error}");
            if let Some(unknown) = base.state_mut::<Unknown>() {
                unknown.0 += 1;
            }
        }
    }
}

fn look_up(base: &mut Base, resolver: Resolver, host: String) -> Result<()> {
    if let Ok(address) = host.parse::<IpAddr>() {
        resolver.names(base, address, move |base, found| {
            let found = found.map(|found| found.records.iter().map(ToString::to_string).collect());
            print(base, &host, found.map_err(|error| error.to_string()));
        })?;
        return Ok(());
    }
    resolver.addresses(base, host.clone(), 0, move |base, found| {
        let text = |address: &SocketAddr| address.ip().to_string();
        let found = found.map(|list| list.addresses.iter().map(text).collect());
        print(base, &host, found.map_err(|error| error.to_string()));
    })?;
    Ok(())
}

fn look_up_all(arguments: Arguments) -> Result<usize> {
    let mut base = Base::new()?;
    base.insert_state(Unknown(0));
    let resolver = match arguments.server {
        Some(server) => Resolver::builder().server(server).build(&mut base)?,
        None => base.resolver()?,
    };
    for host in arguments.hosts {
        look_up(&mut base, resolver, host)?;
    }
    // Ends by itself when the last one is known.
    base.run()?;
    Ok(base
        .remove_state::<Unknown>()
        .map_or(0, |unknown| unknown.0))
}

fn main() -> ExitCode {
    match look_up_all(Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("resolve: {error}");
            ExitCode::FAILURE
        }
    }
}
