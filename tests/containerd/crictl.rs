//! What an operator sees of the images with `crictl`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Generation, Setup, Stowd, fixture, on_each_generation_in_turn};

on_each_generation_in_turn!(it_lists_what_is_pinned_and_prunes_what_is_not);

const SOON: Duration = Duration::from_secs(120);

/// Runs the newest crictl against a containerd: its output. Panics when it fails.
fn crictl(stowd: &Stowd, arguments: &[&str]) -> String {
    let program: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/programs/crictl/bin/crictl");
    let output = Command::new(&program)
        // The machine's own configuration is no matter of the test's.
        .arg("--config=/dev/null")
        .arg("--runtime-endpoint")
        .arg(format!("unix://{}", stowd.address().display()))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: run tests/run", program.display()));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "crictl {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// The tags that it lists, with whether they are pinned.
fn listed(stowd: &Stowd) -> BTreeSet<(String, bool)> {
    let listed = crictl(stowd, &["images", "--output=json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let images = listed["images"].as_array().unwrap().iter();
    let tags = images.flat_map(|image| {
        let tags = image["repoTags"].as_array().unwrap().iter();
        tags.map(|tag| (tag.as_str().unwrap().to_owned(), image["pinned"] == true))
    });
    tags.collect()
}

fn it_lists_what_is_pinned_and_prunes_what_is_not(generation: &Generation) {
    let setup = Setup::new(generation);
    let pinned = fixture("buildah-oci.tar");
    setup.stow(&pinned.path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let other = fixture("umoci.tar");
    let words = generation.import_words();
    stowd.ctr(&[words, &[other.path.to_str().unwrap()]].concat());

    // CRI of 1.6 knows no pins.
    let knows_pins = generation.name != "1.6";
    let of = |fixture: &crate::support::Fixture, is_pinned| {
        let names = fixture.names.iter();
        names
            .map(move |name| (name.clone(), is_pinned))
            .collect::<Vec<_>>()
    };
    let (own, others) = (of(&pinned, knows_pins), of(&other, false));
    let both = own.iter().chain(&others).cloned().collect();
    stowd.wait_until(SOON, "crictl lists both", |stowd| listed(stowd) == both);

    let said = crictl(&stowd, &["inspecti", "--output=json", &pinned.names[0]]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let target = stowd.store().images()[&pinned.names[0]].target.clone();
    let digests = said["status"]["repoDigests"].as_array().unwrap();
    let (repository, _) = pinned.names[0].rsplit_once(':').unwrap();
    assert_eq!(digests, &[format!("{repository}@{target}")]);

    crictl(&stowd, &["rmi", "--prune"]);
    stowd.wait_until(SOON, "what is not pinned is gone", |stowd| {
        let left = listed(stowd);
        others.iter().all(|other| !left.contains(other))
    });
    // Where CRI knows no pins, stowd brings back what is gone.
    let own = own.into_iter().collect();
    stowd.wait_until(SOON, "what stowd has imported is there", |stowd| {
        listed(stowd) == own
    });
    let brought_back = stowd.lines(" bringing back what is missing of /");
    assert_eq!(brought_back.is_empty(), knows_pins, "{brought_back:?}");
}
