//! Images that come from a registry: as crane pulls them, and as ko builds them.

use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{Ran, Setup, Stowd, fixture, reference, run_in_pod};

const SOON: Duration = Duration::from_secs(120);

/// A store that has this archive alone, and a sandbox image.
fn ready(file: &str) -> Stowd {
    let setup = Setup::new(&reference());
    setup.sandbox_image("registry.stowd.test/pause:1");
    setup.stow(&fixture("pause.tar").path);
    setup.stow(&fixture(file).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd
}

fn run(stowd: &Stowd, image: &str, command: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let address = stowd.address();
    let run = run_in_pod(&address, dir.path(), image, command);
    Runtime::new().unwrap().block_on(run)
}

/// The configuration of the one image of an archive.
fn configuration(stowd: &Stowd, image: &str) -> Value {
    let store = stowd.store();
    let manifest: Value = store.document(&store.images()[image].target);
    store.document(manifest["config"]["digest"].as_str().unwrap())
}

#[test]
fn every_form_in_which_crane_pulls_an_image_is_the_same_image() {
    let mut configurations = Vec::new();
    for file in ["crane-docker.tar", "crane-legacy.tar", "crane-oci.tar"] {
        let stowd = ready(file);
        let image = &fixture(file).names[0];
        let ran = run(&stowd, image, &["/bin/cat", "/etc/made-by"]);
        assert_eq!(ran.exit_code, 0, "{file}: {}", ran.log);
        assert!(ran.log.contains("stdout F crane"), "{file}: {}", ran.log);
        configurations.push(configuration(&stowd, image));
    }
    assert_eq!(
        configurations[0]["rootfs"]["diff_ids"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(configurations[0], configurations[1]);
    assert_eq!(configurations[0], configurations[2]);
}

#[test]
fn the_program_that_ko_has_built_runs() {
    let image = "registry.stowd.test/ko:1.35";
    let stowd = ready("ko-docker.tar");
    let entrypoint = configuration(&stowd, image)["config"]["Entrypoint"].clone();
    let program = entrypoint[0].as_str().unwrap();
    let ran = run(&stowd, image, &[program]);
    assert_eq!(ran.exit_code, 0, "{}", ran.log);
    assert!(ran.log.contains("stderr F ko"), "{}", ran.log);
}
