//! `stowd import` and `stowd remove`, beside a daemon, and at a containerd without one.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::damage::{blobs_of, file};
use crate::scrub::{is_right, spoil};
use crate::support::{
    Daemon, Generation, Registry, Setup, Store, Stowd, blobs_dir, fixture,
    on_each_generation_in_turn, on_the_reference_in_turn,
};

const SOON: Duration = Duration::from_secs(120);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const ZSTD: &str = "registry.stowd.test/skopeo-zstd:1.35";
const BUILDAH: &str = "registry.stowd.test/buildah:1.35";

on_each_generation_in_turn!(an_import_by_hand_is_pinned_for_its_own_owner_until_it_is_removed);
on_the_reference_in_turn!(
    a_containerd_without_a_daemon_is_filled,
    what_an_instance_has_pinned_stays_as_it_is,
    each_file_that_fails_is_told_and_the_others_are_imported,
    what_is_damaged_is_verified_and_repaired,
);

/// Runs a command beside the daemon, with its configuration.
pub(crate) fn command(stowd: &Stowd, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stowd"));
    let config = stowd.setup().dir().join("stowd.toml");
    let environment = stowd.setup().environment.iter();
    command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("STOWD_TEST_CONTAINERD")
        .envs(environment.map(|(name, value)| (name, value)))
        .stdin(input)
        .output()
        .unwrap()
}

pub(crate) fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The exit status 1, with these lines on stderr.
pub(crate) fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn path_of(file: &str) -> String {
    fixture(file).path.to_str().unwrap().to_owned()
}

/// The owner of the pin of an image, if it is there and pinned.
pub(crate) fn owner(store: &Store, name: &str) -> Option<String> {
    let labels = store.images().remove(name)?.labels;
    let owner = labels.get("io.stowd.pinned").cloned();
    let is_pinned = labels.contains_key("io.cri-containerd.pinned");
    assert_eq!(is_pinned, owner.is_some(), "both labels or none");
    owner
}

fn an_import_by_hand_is_pinned_for_its_own_owner_until_it_is_removed(generation: &Generation) {
    let mut stowd = Setup::new(generation).start();
    stowd.wait_ready(SOON);
    let imported = command(&stowd, &["import", &path_of("umoci.tar")], Stdio::null());
    let text = succeeded(&imported);
    assert!(text.starts_with(&format!("{UMOCI}\n")), "{text}");
    assert!(
        text.contains("umoci.tar: 1 image, 1 unpacked, in "),
        "{text}"
    );
    assert_eq!(owner(&stowd.store(), UMOCI).as_deref(), Some("import"));

    // Through a pipe, an archive that must be looked into at its end.
    let mut cat = Command::new("cat")
        .arg(path_of("buildah-docker.tar"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = cat.stdout.take().unwrap();
    let text = succeeded(&command(&stowd, &["import", "-"], pipe.into()));
    assert!(cat.wait().unwrap().success());
    assert!(text.contains("-: 1 image, 1 unpacked, in "), "{text}");

    // The daemon lists what is pinned when it starts, and when it is told to.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    for name in [UMOCI, BUILDAH] {
        assert_eq!(owner(&stowd.store(), name).as_deref(), Some("import"));
    }

    // What an entry brings by now is the instance's from then on.
    stowd.setup().stow(&fixture("umoci.tar").path);
    stowd.wait_until(SOON, "it is imported", |stowd| {
        stowd.outcomes("umoci.tar").len() == 1
    });
    stowd.wait_until(SOON, "it is the instance's", |stowd| {
        let text = succeeded(&command(stowd, &["remove", UMOCI], Stdio::null()));
        text.contains(" to the instance default\n")
    });
    assert_eq!(owner(&stowd.store(), UMOCI).as_deref(), Some("default"));
    fs::remove_file(stowd.setup().images().join("umoci.tar")).unwrap();
    let ledger = stowd.setup().dir().join("lib/ledger.json");
    stowd.wait_until(SOON, "it is unpinned, and no record has it", |stowd| {
        let recorded = fs::read_to_string(&ledger).unwrap();
        owner(&stowd.store(), UMOCI).is_none() && !recorded.contains("umoci.tar")
    });
    succeeded(&command(
        &stowd,
        &["import", &path_of("umoci.tar")],
        Stdio::null(),
    ));

    let text = succeeded(&command(&stowd, &["remove", UMOCI], Stdio::null()));
    assert_eq!(text.lines().count(), 2, "its name by digest, too: {text}");
    assert!(text.starts_with(&format!("unpinned {UMOCI}\n")), "{text}");
    assert!(stowd.store().images().contains_key(UMOCI));
    assert_eq!(owner(&stowd.store(), UMOCI), None);
    let removed = command(&stowd, &["remove", "--delete", BUILDAH], Stdio::null());
    assert!(succeeded(&removed).starts_with(&format!("deleted {BUILDAH}\n")));
    let left = stowd.store().images().into_keys();
    let left = left.filter(|name| name.contains("buildah"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

fn a_containerd_without_a_daemon_is_filled(generation: &Generation) {
    let daemon = Daemon::start(generation);
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    // It ends at once, and leaves its configuration.
    setup.arguments.push("--once".to_owned());
    let mut stowd = setup.start();
    assert_eq!(stowd.wait(SOON).code(), Some(0));
    let imported = command(
        &stowd,
        &["import", &path_of("umoci.tar.zst")],
        Stdio::null(),
    );
    succeeded(&imported);
    let store = Store::at(&daemon.address());
    assert_eq!(owner(&store, UMOCI).as_deref(), Some("import"));
    drop(daemon);
    let refused = command(&stowd, &["import", &path_of("umoci.tar")], Stdio::null());
    let told = failed(&refused);
    assert!(
        told.contains("c.sock") && told.contains("containerd"),
        "{told}"
    );
}

fn what_an_instance_has_pinned_stays_as_it_is(generation: &Generation) {
    let setup = Setup::new(generation);
    // Another image under the same name.
    let other = crate::support::write_static_image(setup.dir(), UMOCI, &["/bin/busybox", "true"]);
    setup.stow(&other);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let before = stowd.store().images()[UMOCI].clone();
    let imported = command(&stowd, &["import", &path_of("umoci.tar")], Stdio::null());
    let told = failed(&imported);
    let begins = format!("{UMOCI}: left as it is (sha256:");
    assert!(told.contains(&begins), "{told}");
    assert!(
        told.contains("the instance default has pinned it"),
        "{told}"
    );
    assert_eq!(stowd.store().images()[UMOCI].target, before.target);
    let told = failed(&command(&stowd, &["remove", UMOCI], Stdio::null()));
    assert!(
        told.contains("the instance default has pinned it"),
        "{told}"
    );
    let told = failed(&command(
        &stowd,
        &["remove", "no.such/image:1"],
        Stdio::null(),
    ));
    assert!(
        told.contains("no.such/image:1: containerd has no image of this name"),
        "{told}"
    );
}

fn each_file_that_fails_is_told_and_the_others_are_imported(generation: &Generation) {
    let mut stowd = Setup::new(generation).start();
    stowd.wait_ready(SOON);
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("umoci.tar").path).unwrap();
    let cut = dir.path().join("cut.tar");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let prose = dir.path().join("prose.tar");
    fs::write(&prose, "This is no archive.\n").unwrap();
    let list = dir.path().join("list.txt");
    fs::write(&list, "busybox:1\n").unwrap();
    let layout = dir.path().join("layout");
    fs::create_dir(&layout).unwrap();
    fs::write(layout.join("oci-layout"), "{}").unwrap();
    let files = [
        list.to_str().unwrap(),
        layout.to_str().unwrap(),
        cut.to_str().unwrap(),
        prose.to_str().unwrap(),
        "/no/such/file.tar",
        dir.path().to_str().unwrap(),
        &path_of("buildah-oci.tar"),
    ];
    let imported = command(&stowd, &[&["import"], &files[..]].concat(), Stdio::null());
    let told = failed(&imported);
    for file in &files[..6] {
        let lines = told.lines().filter(|line| line.contains(*file)).count();
        assert!(lines >= 1, "{file} in {told}");
    }
    for part in [
        "layout: an OCI layout in a directory",
        "list.txt: a list of images",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(owner(&stowd.store(), BUILDAH).as_deref(), Some("import"));
    assert_eq!(owner(&stowd.store(), UMOCI), None);
    // Standard input that is a file is not copied.
    let input = File::open(path_of("umoci.tar")).unwrap();
    succeeded(&command(&stowd, &["import", "-"], input.into()));
    assert_eq!(owner(&stowd.store(), UMOCI).as_deref(), Some("import"));
}

fn largest_blob(stowd: &Stowd, name: &str) -> String {
    let mut blobs = blobs_of(stowd, name);
    blobs.sort_by_key(|digest| fs::metadata(file(stowd, digest)).unwrap().len());
    blobs.pop().unwrap()
}

/// What is wrong is found and told, and nothing is changed; then it is brought back.
fn what_is_damaged_is_verified_and_repaired(generation: &Generation) {
    let registry = Registry::start();
    registry.push("skopeo-oci-zstd.tar", ZSTD, "skopeo-zstd:1.35");
    let setup = Setup::new(generation);
    setup.registry("registry.stowd.test", registry.address(), &[]);
    setup.stow(&fixture("umoci.tar").path);
    setup.stow(&fixture("buildah-oci.tar.zst").path);
    setup.list("list.txt", format!("{ZSTD}\n"));
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let by_hand = command(
        &stowd,
        &["import", &path_of("ko-docker.tar")],
        Stdio::null(),
    );
    succeeded(&by_hand);
    // The ledger is written once in a second.
    stowd.wait_until(SOON, "all of them are verified", |stowd| {
        let text = succeeded(&command(stowd, &["verify"], Stdio::null()));
        text.starts_with("4 images, ") && text.ends_with(": whole\n")
    });

    // containerd does not pull a layer again that is unpacked: of the list it is the configuration.
    let spoilt = [
        largest_blob(&stowd, UMOCI),
        largest_blob(&stowd, BUILDAH),
        blobs_of(&stowd, ZSTD).remove(1),
    ];
    for digest in &spoilt {
        spoil(&file(&stowd, digest));
    }
    stowd.ctr(&["images", "label", BUILDAH, "io.cri-containerd.pinned="]);
    // Of one alone.
    let told = failed(&command(&stowd, &["verify", UMOCI], Stdio::null()));
    assert!(
        told.contains(&spoilt[0]) && !told.contains(&spoilt[1]),
        "{told}"
    );
    let told = failed(&command(&stowd, &["verify"], Stdio::null()));
    for digest in &spoilt {
        let line = format!("blob {digest}: its bytes are not those of its digest");
        assert!(told.contains(&line), "{told}");
    }
    assert!(
        told.contains(&format!("{BUILDAH}: it is not there, not pinned")),
        "{told}"
    );
    let text = repaired(&command(&stowd, &["verify", "--repair"], Stdio::null()));
    for entry in ["umoci.tar", "buildah-oci.tar.zst", "list.txt"] {
        let line = format!("/images/{entry}\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
    let blobs = blobs_dir(&stowd.setup().dir().join("root"));
    for digest in &spoilt {
        assert!(is_right(&stowd.store(), &blobs, digest), "{digest}");
    }
    succeeded(&command(&stowd, &["verify"], Stdio::null()));
    // Without a ledger the pins tell what is on board.
    fs::write(stowd.setup().dir().join("lib/ledger.json"), "{").unwrap();
    let unsure = command(&stowd, &["verify"], Stdio::null());
    assert!(failed(&unsure).contains("ledger not used in full: "));
    assert!(unsure.stdout.starts_with(b"4 images, "), "{unsure:?}");
    let told = failed(&command(&stowd, &["verify", "app:1"], Stdio::null()));
    assert!(
        told.contains("docker.io/library/app:1: no image of this name is kept"),
        "{told}"
    );
}

/// Exit status 0, whatever was wrong before.
fn repaired(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
