//! That the registries of this tier do what the other tests believe of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::support::{
    AUTH, Answer, Daemon, FakeRegistry, Generation, PASSWORD, Refusing, Registry, USER, Unpacked,
    eventually, eventually_in_turn, fixture, on_the_reference, plain_http, pull, shell,
    write_hosts,
};

const SOON: Duration = Duration::from_secs(20);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
/// How a client asks that knows OCI's images.
const MANIFEST: &str = "Accept: application/vnd.oci.image.manifest.v1+json\r\n";

on_the_reference!(a_pull_goes_where_hosts_toml_says, a_fault_reaches_who_pulls,);

/// The whole answer to `GET path`, with these lines in its head.
fn get(address: &str, path: &str, lines: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\n{lines}Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_registry_serves_what_was_pushed_and_counts_who_asked() {
    let mut registry = Registry::start();
    let digest = registry.push("umoci.tar", UMOCI, "core/umoci:1.35");
    let unpacked = Unpacked::of(&fixture("umoci.tar").path, "");
    let is = format!("{:?}", unpacked.image(UMOCI).unwrap().is);
    assert_eq!(is, format!("Target({digest:?})"), "byte for byte");
    assert_eq!(registry.asked(), [], "who fills it does not count");

    registry.tag("core/umoci", "1.35", "latest");
    let path = "/v2/core/umoci/manifests/latest";
    for count in 1..=2 {
        let answer = get(registry.address(), path, MANIFEST).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(&digest), "{answer}");
        eventually_in_turn(SOON, "it is in the log", || {
            let seen = registry.manifests_asked("core/umoci");
            (seen == count).then_some(()).ok_or(registry.log())
        });
    }
    assert_eq!(registry.manifests_asked("core"), 0);
    assert_eq!(registry.all_manifests_asked(), 2);
    let asked = registry.asked().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.status), ("GET", 200));
    assert_eq!(asked.path, path);

    let address = registry.address().to_owned();
    registry.kill();
    assert!(get(&address, path, MANIFEST).is_err(), "nothing listens");
    registry.restart();
    assert_eq!(registry.address(), address);
    let answer = get(&address, path, MANIFEST).unwrap();
    assert!(answer.contains(&digest), "{answer}");
}

#[test]
fn a_registry_with_a_password_wants_it() {
    let registry = Registry::start_with_password();
    registry.push("umoci.tar", UMOCI, "core/umoci:1.35");
    let right = format!("Authorization: Basic {AUTH}\r\n");
    let wrong = "Authorization: Basic c3Rvd2Q6d3Jvbmc=\r\n";
    let login = format!("{USER}:{PASSWORD}");
    let decoded = shell("printf %s \"$1\" | base64 -d", &[Path::new(AUTH)]);
    assert_eq!(String::from_utf8(decoded).unwrap(), login);
    let path = "/v2/core/umoci/manifests/1.35";
    for (lines, status) in [("", 401), (wrong, 401), (&right, 200)] {
        let lines = format!("{lines}{MANIFEST}");
        let answer = get(registry.address(), path, &lines).unwrap();
        let wanted = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&wanted), "{answer}");
    }
}

#[test]
fn a_false_registry_answers_as_it_is_told() {
    let registry = Registry::start();
    registry.push("umoci.tar", UMOCI, "core/umoci:1.35");
    let path = "/v2/core/umoci/manifests/1.35";
    let of = || Answer::Of(registry.address().to_owned());

    let fake = FakeRegistry::start(Answer::BROKEN);
    let address = fake.address();
    let answer = get(&address, path, "").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with(r#""message":"the disk is on fire"}]}"#));
    fake.answer(Answer::TOO_MANY);
    let answer = get(&address, path, "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 7\r\n"), "{answer}");

    fake.answer(of());
    let real = get(&address, path, MANIFEST).unwrap();
    assert!(real.starts_with("HTTP/1.1 200 "), "{real}");
    fake.answer(Answer::Slowly {
        of: registry.address().to_owned(),
        piece: 200,
        pause: Duration::from_millis(10),
    });
    let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let slow = get(&address, path, MANIFEST).unwrap();
    assert_eq!(body(&slow), body(&real));

    fake.answer(Answer::Held);
    let waiting = {
        let address = address.clone();
        std::thread::spawn(move || get(&address, path, MANIFEST).unwrap())
    };
    let held = |count: usize| {
        eventually_in_turn(SOON, "so many are held", || {
            let held = fake.held();
            (held == count).then_some(()).ok_or(format!("{held}"))
        });
    };
    held(1);
    fake.answer(of());
    assert_eq!(body(&waiting.join().unwrap()), body(&real));
    held(0);
    // A client that goes away is not held any more.
    fake.answer(Answer::Silence);
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
    held(1);
    drop(stream);
    held(0);
    assert_eq!(fake.requests().len(), 6);
    assert!(fake.requests().iter().all(|request| request.path == path));

    drop(fake);
    assert!(get(&address, path, "").is_err(), "nothing listens");
    let back = Registry::start_on(&address);
    assert_eq!(back.address(), address);
}

#[test]
fn a_port_that_refuses_is_taken_until_it_is_let_go() {
    let refusing = Refusing::start();
    let address = refusing.address();
    let refused = TcpStream::connect(&address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let taken = std::net::TcpListener::bind(&address).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    drop(refusing);
    assert_eq!(Registry::start_on(&address).address(), address);
}

async fn a_pull_goes_where_hosts_toml_says(generation: Generation) {
    let registry = Registry::start();
    let digest = registry.push("umoci.tar", UMOCI, "library/umoci:1.35");
    let refusing = Refusing::start();
    let mut daemon = Daemon::start(&generation);
    daemon.wait();
    let hosts = plain_http(&refusing.address(), &[registry.address()]);
    for (name, text) in [
        ("docker.io", hosts.as_str()),
        ("registry.stowd.test", &plain_http(registry.address(), &[])),
        (registry.address(), &plain_http(registry.address(), &[])),
    ] {
        write_hosts(daemon.dir(), name, text);
    }
    let port = format!("{}/library/umoci:1.35", registry.address());
    for image in [
        "umoci:1.35",
        "registry.stowd.test/library/umoci:1.35",
        &port,
    ] {
        let before = registry.all_manifests_asked();
        pull(&daemon.address(), image).await.unwrap();
        assert!(registry.all_manifests_asked() > before, "{image}");
    }
    let images = daemon.ctr(&["--namespace", "k8s.io", "images", "list"]);
    for name in [
        "docker.io/library/umoci:1.35",
        "registry.stowd.test/library/umoci:1.35",
        &port,
    ] {
        let named = |line: &&str| line.starts_with(&format!("{name} "));
        let line = images.lines().find(named).unwrap_or_default();
        assert!(line.contains(&digest), "{name}: {images}");
    }
}

async fn a_fault_reaches_who_pulls(generation: Generation) {
    let refusing = Refusing::start();
    let fake = FakeRegistry::start(Answer::BROKEN);
    let locked = Registry::start_with_password();
    let registry = Registry::start();
    registry.push("umoci.tar", UMOCI, "umoci:1.35");
    let mut daemon = Daemon::start(&generation);
    daemon.wait();
    let hosts = [
        ("refusing.stowd.test", refusing.address()),
        ("fake.stowd.test", fake.address()),
        ("locked.stowd.test", locked.address().to_owned()),
    ];
    for (name, address) in hosts {
        write_hosts(daemon.dir(), name, &plain_http(&address, &[]));
    }
    let address = daemon.address();
    let fails = |registry: &str, part: &'static str| {
        let (image, address) = (format!("{registry}.stowd.test/umoci:1.35"), address.clone());
        async move {
            let error = pull(&address, &image).await.unwrap_err();
            assert!(error.contains(part), "{image}: {error}");
        }
    };
    fails("refusing", "connection refused").await;
    fails("fake", "500 Internal Server Error").await;
    let denied = match generation.name.as_str() {
        "1.6" => "401 Unauthorized",
        _ => "authorization failed: no basic auth credentials",
    };
    fails("locked", denied).await;
    fake.answer(Answer::TOO_MANY);
    fails("fake", "429 Too Many Requests").await;
    // A HEAD has no body: only what is fetched is refused with words.
    let of = registry.address().to_owned();
    fake.answer_with(move |request| match request.method.as_str() {
        "HEAD" => Answer::Of(of.clone()),
        _ => Answer::TOO_MANY,
    });
    fails(
        "fake",
        "toomanyrequests: retry-after: 7s, allowed: 1/minute",
    )
    .await;

    // What is silent is silent until it is given up.
    fake.answer(Answer::Silence);
    let pulling = {
        let address = address.clone();
        tokio::spawn(async move { pull(&address, "fake.stowd.test/umoci:1.35").await })
    };
    let held = |count: usize| {
        let held = fake.held();
        async move { (held == count).then_some(()).ok_or(format!("{held}")) }
    };
    eventually(SOON, "it is asked", || held(1)).await;
    pulling.abort();
    eventually(SOON, "it is given up", || held(0)).await;
}
