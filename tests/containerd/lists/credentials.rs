//! Registries that ask for a password, and that nothing else gets to see it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    AUTH, Answer, FakeRegistry, Generation, PASSWORD, Registry, Setup, Stowd,
    on_each_generation_in_turn, on_the_reference_in_turn, reference,
};

use rustix::process::Signal;

use super::harness::{
    HOST, UMOCI, count, eventually, not_pulled, push, ready, set, setup, status, tags,
};

/// Everything, of those too whose lines are left out unless they are named.
const TRACE: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace";

/// base64 of `stowd:wrong-donkey`.
const WRONG: &str = "c3Rvd2Q6d3JvbmctZG9ua2V5";

on_each_generation_in_turn!(
    a_registry_with_a_password_is_pulled_from_with_the_auth_file_and_not_without,
);
on_the_reference_in_turn!(
    a_wrong_password_is_said_and_mended_without_a_restart,
    a_password_goes_to_its_registry_and_to_no_other,
);

fn auth_file(dir: &Path) -> PathBuf {
    dir.join("auth.json")
}

/// Writes an auth file with these registries' logins.
fn write_auth(dir: &Path, logins: &[(&str, &str)]) {
    let auths = logins
        .iter()
        .map(|(registry, auth)| format!("\"{registry}\":{{\"auth\":\"{auth}\"}}"))
        .collect::<Vec<_>>();
    let path = auth_file(dir);
    fs::write(&path, format!("{{\"auths\":{{{}}}}}", auths.join(","))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A setup with an auth file named, and all logged that can be.
fn talkative(generation: &Generation, address: &str) -> Setup {
    let mut setup = setup(generation, address, "");
    let path = auth_file(setup.dir());
    let lists = format!("[lists]\nauth-file = \"{}\"\n", path.display());
    setup.config = lists;
    let level = ("STOWD_LOG_LEVEL".to_owned(), TRACE.to_owned());
    setup.environment.push(level);
    setup.containerd = "log.level = \"debug\"\n".to_owned();
    setup
}

/// What `stowd check` says.
fn check(stowd: &Stowd) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .arg("--config")
        .arg(stowd.setup().dir().join("stowd.toml"))
        .arg("check")
        .env("PATH", stowd.setup().generation().path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

/// Neither secret is anywhere where people look.
fn assert_kept_secret(stowd: &mut Stowd) {
    let checked = check(stowd);
    assert!(checked.contains("auth-file"), "{checked}");
    assert_eq!(stowd.stop(), Some(0));
    let ledger = stowd.setup().dir().join("lib/ledger.json");
    let ledger = fs::read_to_string(ledger).unwrap();
    let told = stowd.notify.messages().join("\n");
    let places = [
        ("log", stowd.log()),
        ("check", checked),
        ("ledger", ledger),
        ("told", told),
    ];
    for (place, text) in places {
        for secret in [PASSWORD, AUTH, "wrong-donkey", WRONG] {
            assert!(!text.contains(secret), "the {place} has {secret}");
        }
    }
}

/// A registry that asks for its password, and the name of the image that it has.
fn locked() -> (Registry, String) {
    let registry = Registry::start_with_password();
    push(&registry, UMOCI);
    let name = format!("{}/umoci:1.35", registry.address());
    (registry, name)
}

fn a_registry_with_a_password_is_pulled_from_with_the_auth_file_and_not_without(
    generation: &Generation,
) {
    let (registry, name) = locked();
    let without = setup(generation, registry.address(), "");
    without.list("core.txt", &name);
    let stowd = ready(without);
    assert_eq!(tags(&stowd), set(&[]));
    let told = not_pulled(&stowd, "core.txt", 1);
    assert_eq!(told.len(), 1, "{}", stowd.log());
    let denied = match generation.name.as_str() {
        "1.6" => "401 Unauthorized",
        _ => "authorization failed",
    };
    assert!(told[0].contains(denied), "{told:?}");
    drop(stowd);

    let with = talkative(generation, registry.address());
    let hub = ("https://index.docker.io/v1/", WRONG);
    write_auth(with.dir(), &[hub, (registry.address(), AUTH)]);
    with.list("core.txt", &name);
    let mut stowd = ready(with);
    assert_eq!(tags(&stowd), set(&[&name]), "{}", status(&stowd));
    assert_kept_secret(&mut stowd);
}

fn a_wrong_password_is_said_and_mended_without_a_restart(generation: &Generation) {
    let (registry, name) = locked();
    let setup = talkative(generation, registry.address());
    write_auth(setup.dir(), &[(registry.address(), WRONG)]);
    setup.list("core.txt", &name);
    let mut stowd = ready(setup);
    let told = not_pulled(&stowd, "core.txt", 1);
    assert!(!told.is_empty(), "{}", stowd.log());
    assert!(told[0].contains("401"), "{told:?}");
    write_auth(stowd.setup().dir(), &[(registry.address(), AUTH)]);
    eventually(&mut stowd, "the next try has the right one", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[&name]));
    assert_kept_secret(&mut stowd);
}

fn a_password_goes_to_its_registry_and_to_no_other(generation: &Generation) {
    let (registry, name) = locked();
    let thief = FakeRegistry::start(Answer::Is {
        status: "401 Unauthorized",
        header: Some("WWW-Authenticate: Basic realm=\"give it to me\""),
        body: "{}".into(),
    });
    let setup = talkative(generation, registry.address());
    // One for which there is no login, and one that stands before a registry for which there is.
    setup.registry("thief.stowd.test", &thief.address(), &[]);
    setup.registry(HOST, registry.address(), &[&thief.address()]);
    write_auth(setup.dir(), &[(HOST, AUTH), (registry.address(), AUTH)]);
    let text = format!("thief.stowd.test/umoci:1.35\n{UMOCI}\n{name}\n");
    setup.list("core.txt", text);
    let mut stowd = ready(setup);
    assert!(tags(&stowd).contains(&name), "{}", stowd.log());
    let requests = thief.requests();
    for of in ["ns=thief.stowd.test", "ns=registry.stowd.test"] {
        let asked = requests.iter().any(|request| request.path.ends_with(of));
        assert!(asked, "{of}: {requests:?}");
    }
    let given = requests.iter().filter(|r| r.authorization.is_some());
    assert_eq!(given.count(), 0, "{requests:?}");
    assert_kept_secret(&mut stowd);
}

#[test]
fn an_auth_file_that_cannot_be_used_is_named_and_its_content_is_not() {
    let registry = Registry::start();
    push(&registry, UMOCI);
    for text in [
        None,
        Some(format!("{{\"auths\":{{\"{HOST}\":{{\"auth\":\"{AUTH}\"")),
        Some(format!("{AUTH}\n")),
        Some(format!(
            "{{\"auths\":{{\"{HOST}\":{{\"auth\":\"{PASSWORD}\"}}}}}}"
        )),
    ] {
        let setup = talkative(&reference(), registry.address());
        if let Some(text) = text {
            fs::write(auth_file(setup.dir()), text).unwrap();
        }
        setup.list("core.txt", UMOCI);
        let mut stowd = ready(setup);
        let path = auth_file(stowd.setup().dir());
        let told = stowd.lines(&path.display().to_string());
        assert!(
            told.iter().any(|line| line.contains("auth-file")),
            "{told:?}"
        );
        // This registry asks for no password.
        assert_eq!(tags(&stowd), set(&[UMOCI]));
        assert_kept_secret(&mut stowd);
    }
}

#[test]
fn an_auth_file_that_is_named_later_is_taken_on_sighup() {
    let (registry, name) = locked();
    let setup = setup(&reference(), registry.address(), "");
    write_auth(setup.dir(), &[(registry.address(), AUTH)]);
    setup.list("core.txt", &name);
    let mut stowd = ready(setup);
    assert_eq!(count(&stowd, "failed", "core.txt: "), 1);
    let config = stowd.setup().dir().join("stowd.toml");
    let text = fs::read_to_string(&config).unwrap();
    let key = format!(
        "[lists]\nauth-file = \"{}\"\n",
        auth_file(stowd.setup().dir()).display()
    );
    fs::write(&config, text.replace("[lists]\n", &key)).unwrap();
    stowd.signal(Signal::HUP);
    eventually(&mut stowd, "it is pulled with that", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[&name]));
    let reloaded = stowd.lines(" reloaded; changed: ");
    assert!(reloaded[0].contains("lists.auth-file"), "{reloaded:?}");
}
