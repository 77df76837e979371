//! Fetches URLs and writes what is answered to standard output, as it comes. URLs of one server share a connection.
//!
//! ```text
//! cargo run --example http_client -- http://example.org/ http://example.org/more
//! cargo run --example http_client -- --data 'some text' http://127.0.0.1:8080/there
//! cargo run --example http_client --features tls -- https://example.org/
//! ```

use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ferrevent::http::{Ask, Client, Exchange, Failure, Method, ResponseHandler, Uri};
use ferrevent::{Base, Error, Result};

#[derive(Parser)]
#[command(about = "An HTTP/1.1 client")]
struct Arguments {
    /// What to fetch
    #[arg(required = true)]
    urls: Vec<String>,

    /// Sends this, by POST
    #[arg(long)]
    data: Option<String>,

    /// Sends a header field, such as 'Accept: text/plain'
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Give up when nothing has come for so many seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,

    /// How often to try again to connect
    #[arg(long, default_value_t = 0)]
    retries: u32,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it has no colon")?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// How many URLs could not be fetched.
#[derive(Default)]
struct Failed(u32);

/// An answer, on its way to standard output.
struct Print {
    url: String,
}

impl ResponseHandler for Print {
    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        if let Some(head) = exchange.head(base) {
            let reason = String::from_utf8_lossy(head.reason());
            eprintln!("{}: {} {reason}", self.url, head.code());
            if head.code() >= 400 {
                count_failure(base);
            }
        }
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        let Some(body) = exchange.take_body(base) else {
            return;
        };
        let mut out = std::io::stdout().lock();
        let mut pieces = body.chunks();
        let printed = pieces.try_for_each(|piece| out.write_all(piece));
        if let Err(error) = printed.and_then(|()| out.flush()) {
            eprintln!("standard output: {error}");
            count_failure(base);
            // Nobody reads any of it.
            base.loop_break();
        }
    }

    fn end(&mut self, base: &mut Base, _: Exchange, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            eprintln!("{}: {failure}", self.url);
            count_failure(base);
        }
    }
}

fn count_failure(base: &mut Base) {
    if let Some(Failed(n)) = base.state_mut() {
        *n += 1;
    }
}

fn ask(arguments: &Arguments, uri: &Uri) -> Ask {
    let mut ask = match &arguments.data {
        Some(data) => Ask::of(Method::Post, uri).body(data),
        None => Ask::of(Method::Get, uri),
    };
    for (name, value) in &arguments.headers {
        ask = ask.field(name, value);
    }
    ask
}

fn fetch(arguments: &Arguments) -> Result<u32> {
    let mut base = Base::new()?;
    base.insert_state(Failed::default());
    let mut clients = HashMap::new();
    for url in &arguments.urls {
        let uri: Uri = url.parse().map_err(|_| Error::Url)?;
        let server = (
            uri.scheme().map(str::to_owned),
            uri.host().map(str::to_owned),
            uri.port(),
        );
        let client = match clients.get(&server) {
            Some(&client) => client,
            None => {
                let client = Client::builder()
                    .timeout(Some(Duration::from_secs(arguments.timeout)))
                    .retries(arguments.retries)
                    .build(&mut base, url)?;
                clients.insert(server, client);
                client
            }
        };
        let print = Print { url: url.clone() };
        client.request_with(&mut base, ask(arguments, &uri), print)?;
    }
    for client in clients.into_values() {
        client.free_when_done(&mut base);
    }
    // Ends by itself: when the clients are freed, nothing is left to wait for.
    base.run()?;
    Ok(base.remove_state::<Failed>().unwrap_or_default().0)
}

fn main() -> ExitCode {
    match fetch(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("http_client: {error}");
            ExitCode::FAILURE
        }
    }
}
