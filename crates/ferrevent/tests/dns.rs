//! Names, looked up in the loop.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod name_server;

use std::cell::RefCell;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ferrevent::dns::{AddressError, Config, Failure, Name, Resolver};
use ferrevent::{Base, BufferEvent, Callbacks, Condition, Error};
use ferrevent_workbench::Folder;

use name_server::NameServer;

/// A base, and a resolver that asks `server`.
fn resolver(server: &NameServer) -> (Base, Resolver) {
    let mut base = Base::new().unwrap();
    let resolver = Resolver::builder()
        .server(server.address)
        .build(&mut base)
        .unwrap();
    (base, resolver)
}

/// What a callback has been told.
struct Told<T>(Rc<RefCell<Vec<T>>>);

impl<T: 'static> Told<T> {
    fn new() -> Self {
        Self(Rc::default())
    }

    fn note(&self) -> impl FnOnce(&mut Base, T) + use<T> {
        let told = self.0.clone();
        move |_, what| told.borrow_mut().push(what)
    }

    fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// Runs the loop until nothing is left to wait for. A resolver that nobody waits for keeps no loop running.
fn run(base: &mut Base) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while base.pending_len() > 0 || base.active_len() > 0 {
        assert!(Instant::now() < deadline, "the loop does not end");
        base.run_once().unwrap();
    }
}

#[test]
fn records_of_each_type_come_from_the_loop() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let (v4, v6, names) = (Told::new(), Told::new(), Told::new());
    resolver.ipv4(&mut base, "www.test", v4.note()).unwrap();
    resolver.ipv6(&mut base, "alias.test", v6.note()).unwrap();
    let address = Ipv4Addr::new(192, 0, 2, 1);
    resolver
        .names(&mut base, address.into(), names.note())
        .unwrap();
    assert!(v4.take().is_empty());
    run(&mut base);

    let [Ok(found)] = &v4.take()[..] else {
        panic!()
    };
    assert_eq!(found.records, [address]);
    assert_eq!(found.ttl, Duration::from_secs(300));
    let [Ok(found)] = &v6.take()[..] else {
        panic!()
    };
    let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert_eq!(found.records, [address]);
    assert_eq!(found.ttl, Duration::from_secs(60));
    assert_eq!(found.canonical, Name::parse("www.test").unwrap());
    let [Ok(found)] = &names.take()[..] else {
        panic!()
    };
    assert_eq!(found.records, [Name::parse("www.test").unwrap()]);
}

#[test]
fn what_is_not_there_is_told() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let told = Told::new();
    resolver
        .ipv4(&mut base, "missing.test", told.note())
        .unwrap();
    run(&mut base);
    assert_eq!(told.take(), [Err(Failure::NotExist)]);
    let told = Told::new();
    resolver.ipv6(&mut base, "local.test", told.note()).unwrap();
    run(&mut base);
    assert_eq!(told.take(), [Err(Failure::NoData)]);
    let bad = resolver.ipv4(&mut base, "a..test", |_, _| panic!("never asked"));
    assert!(matches!(bad, Err(Error::Name(_))));
}

#[test]
fn an_answer_is_kept_as_long_as_it_may_be() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let told = Told::new();
    for _ in 0..3 {
        resolver.ipv4(&mut base, "www.test", told.note()).unwrap();
        run(&mut base);
    }
    assert_eq!(told.take().len(), 3);
    assert_eq!(server.asked(), 1);
    resolver.clear_cache(&mut base);
    resolver.ipv4(&mut base, "www.test", told.note()).unwrap();
    run(&mut base);
    assert_eq!(server.asked(), 2);
}

#[test]
fn what_was_cut_off_comes_by_tcp() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let told = Told::new();
    resolver.ipv4(&mut base, "big.test", told.note()).unwrap();
    run(&mut base);
    let [Ok(found)] = &told.take()[..] else {
        panic!()
    };
    assert!(found.records.len() > 30, "{found:?}");
    assert_eq!(server.asked(), 2);
}

#[test]
fn a_silent_server_is_passed_over() {
    let server = NameServer::start();
    // It takes datagrams, and answers none.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut base = Base::new().unwrap();
    let resolver = Resolver::builder()
        .server(silent.local_addr().unwrap())
        .server(server.address)
        .config(Config {
            resend: Some(Duration::from_millis(20)),
            ..Config::default()
        })
        .build(&mut base)
        .unwrap();
    let told = Told::new();
    for name in ["www.test", "alias.test", "big.test"] {
        resolver.ipv4(&mut base, name, told.note()).unwrap();
    }
    run(&mut base);
    let told = told.take();
    assert!(
        told.len() == 3 && told.iter().all(Result::is_ok),
        "{told:?}"
    );
}

#[test]
fn a_look_up_ends_when_all_are_silent() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut base = Base::new().unwrap();
    let resolver = Resolver::builder()
        .server(silent.local_addr().unwrap())
        .config(Config {
            deadline: Some(Duration::from_millis(100)),
            ..Config::default()
        })
        .build(&mut base)
        .unwrap();
    let told = Told::new();
    resolver.ipv4(&mut base, "www.test", told.note()).unwrap();
    run(&mut base);
    assert_eq!(told.take(), [Err(Failure::Timeout)]);
}

#[test]
fn addresses_come_from_hosts_and_servers() {
    let server = NameServer::start();
    let mut base = Base::new().unwrap();
    let resolver = Resolver::builder()
        .server(server.address)
        .hosts("192.0.2.9 here.example\n")
        .search(Name::parse("test").unwrap())
        .build(&mut base)
        .unwrap();
    let told = Told::new();
    for host in ["here.example", "www", "192.0.2.7", "missing.example"] {
        resolver
            .addresses(&mut base, host, 80, told.note())
            .unwrap();
        run(&mut base);
    }
    let found: Vec<String> = told
        .take()
        .into_iter()
        .map(|found| match found {
            Ok(list) => format!("{:?}", list.addresses),
            Err(AddressError::NoName | AddressError::Failed(Failure::NotExist)) => "-".to_owned(),
            Err(error) => error.to_string(),
        })
        .collect();
    let wanted = [
        "[192.0.2.9:80]",
        "[192.0.2.1:80, [2001:db8::1]:80]",
        "[192.0.2.7:80]",
        "-",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_cancelled_look_up_tells_nobody_and_keeps_no_loop_running() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let lookup = resolver
        .ipv4(&mut base, "silent.test", |_, _| panic!("it was cancelled"))
        .unwrap();
    assert!(lookup.cancel(&mut base));
    assert!(!lookup.cancel(&mut base));
    run(&mut base);
}

#[test]
fn a_callback_may_free_the_resolver() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    resolver
        .ipv4(&mut base, "www.test", move |base, _| {
            assert!(resolver.free(base));
        })
        .unwrap();
    resolver
        .ipv4(&mut base, "silent.test", |_, _| panic!("nobody is told"))
        .unwrap();
    run(&mut base);
    assert!(!resolver.exists(&base));
    let late = resolver.ipv4(&mut base, "www.test", |_, _| panic!("never"));
    assert!(matches!(late, Err(Error::Stale)));
}

#[test]
fn shutting_down_tells_who_waits() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let (records, addresses) = (Told::new(), Told::new());
    resolver
        .ipv4(&mut base, "silent.test", records.note())
        .unwrap();
    resolver
        .addresses(&mut base, "silent.test", 1, addresses.note())
        .unwrap();
    assert!(resolver.shut_down(&mut base));
    assert!(records.take().is_empty());
    run(&mut base);
    assert_eq!(records.take(), [Err(Failure::Shutdown)]);
    let failed = AddressError::Failed(Failure::Shutdown);
    assert_eq!(addresses.take(), [Err(failed)]);
}

#[test]
fn files_are_read_again_when_they_have_changed() {
    let server = NameServer::start();
    let folder = Folder::create().unwrap();
    let conf = folder.path().join("resolv.conf");
    let hosts = folder.path().join("hosts");
    fs::write(&conf, "search nowhere.example\n").unwrap();
    fs::write(&hosts, "192.0.2.9 here\n").unwrap();
    let mut base = Base::new().unwrap();
    let resolver = Resolver::builder()
        .resolv_conf(&conf)
        .hosts_file(&hosts)
        .build(&mut base)
        .unwrap();
    assert_eq!(
        resolver.servers(&base).unwrap(),
        ["127.0.0.1:53".parse().unwrap()]
    );

    fs::write(
        &conf,
        format!("nameserver {}\nsearch test\n", server.address),
    )
    .unwrap();
    fs::write(&hosts, "192.0.2.10 there\n").unwrap();
    // They are looked at once a second.
    let deadline = Instant::now() + Duration::from_secs(20);
    while resolver.servers(&base).unwrap() != [server.address] {
        assert!(Instant::now() < deadline, "nobody has looked");
        resolver
            .addresses(&mut base, "192.0.2.1", 1, |_, _| {})
            .unwrap();
        base.after(Duration::from_millis(20), |_| {});
        run(&mut base);
    }
    let told = Told::new();
    resolver.ipv4(&mut base, "www", told.note()).unwrap();
    run(&mut base);
    assert!(told.take()[0].is_ok());
    let told = Told::new();
    for host in ["here", "there"] {
        resolver.addresses(&mut base, host, 1, told.note()).unwrap();
    }
    run(&mut base);
    let found: Vec<bool> = told.take().iter().map(Result::is_ok).collect();
    assert!(found.contains(&true) && found.contains(&false), "{found:?}");
}

/// What a bufferevent that connects to `host` is told first.
fn connect(base: &mut Base, resolver: Resolver, host: &str, port: u16) -> String {
    let told = Rc::new(RefCell::new(Vec::new()));
    let note = told.clone();
    let bev = BufferEvent::unconnected(base);
    bev.set_handler(
        base,
        Callbacks::new().event(move |base, bev, condition| {
            let text = match condition {
                Condition::Error {
                    error: Error::Lookup { host, source },
                    ..
                } => format!("{host}: {:?}", source.kind()),
                other => other.to_string(),
            };
            note.borrow_mut().push(text);
            bev.free(base);
        }),
    );
    bev.connect_host_with(base, resolver, host, port).unwrap();
    assert!(told.borrow().is_empty());
    run(base);
    let told = told.take();
    assert_eq!(told.len(), 1, "{told:?}");
    told.into_iter().next().unwrap()
}

#[test]
fn a_bufferevent_connects_by_name() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(
        connect(&mut base, resolver, "local.test", port),
        "connected"
    );
    assert_eq!(connect(&mut base, resolver, "127.0.0.1", port), "connected");
    let missing = connect(&mut base, resolver, "missing.test", port);
    assert_eq!(missing, "missing.test: NotFound");
}

#[test]
fn a_bufferevent_that_is_freed_forgets_its_look_up() {
    let server = NameServer::start();
    let (mut base, resolver) = resolver(&server);
    let bev = BufferEvent::unconnected(&mut base);
    bev.set_handler(
        &mut base,
        Callbacks::new().event(|_, _, condition| panic!("told of {condition}")),
    );
    bev.connect_host_with(&mut base, resolver, "silent.test", 1)
        .unwrap();
    bev.free(&mut base);
    run(&mut base);
}

#[test]
fn the_systems_files_describe_the_bases_own() {
    let mut base = Base::new().unwrap();
    let resolver = base.resolver().unwrap();
    assert_eq!(base.resolver().unwrap(), resolver);
    assert!(!resolver.servers(&base).unwrap().is_empty());
    let told = Told::new();
    resolver
        .addresses(&mut base, "127.0.0.1", 80, told.note())
        .unwrap();
    run(&mut base);
    assert!(told.take()[0].is_ok());
}
