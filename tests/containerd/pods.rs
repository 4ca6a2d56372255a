//! The purpose of it all: a container of an imported image runs, and no registry is anywhere.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::support::{Generation, Setup, fixture, on_each_generation_in_turn, run_in_pod};

const SOON: Duration = Duration::from_secs(120);

/// The sandbox image comes out of an archive too.
const PAUSE: &str = "registry.stowd.test/pause:1";

/// Archives of every maker, in every compression; the image of each that is run, and what its file
/// /etc/made-by says.
const ARCHIVES: [(&str, &str, &str); 10] = [
    ("umoci.tar.xz", "registry.stowd.test/umoci:1.35", "umoci"),
    (
        "skopeo-docker-tags.tar.gz",
        "registry.stowd.test/other/skopeo:v1",
        "umoci",
    ),
    (
        "skopeo-docker-short.tar",
        "docker.io/library/stowd-busybox:1.35",
        "umoci",
    ),
    (
        "skopeo-oci-zstd.tar.lz4",
        "registry.stowd.test/skopeo-zstd:1.35",
        "umoci",
    ),
    (
        "buildah-oci.tar.bz2",
        "registry.stowd.test/buildah:1.35",
        "buildah",
    ),
    (
        "docker-save-symbolic-links.tar.zst",
        "registry.stowd.test/podman:1.35",
        "buildah",
    ),
    (
        "ctr-all-platforms.tar",
        "registry.stowd.test/ctr-platforms:1.35",
        "umoci",
    ),
    (
        "crane-oci.tar.gz",
        "registry.stowd.test/crane:1.35",
        "crane",
    ),
    ("ko-docker.tar.zst", "registry.stowd.test/ko:1.35", "crane"),
    (
        "index-attested.tar.gz",
        "registry.stowd.test/attested:1.35",
        "umoci",
    ),
];

/// Whiteouts took effect, the programs are there and run, and the exit status comes back.
const SCRIPT: &str =
    "cat /etc/made-by; ls /etc/removed-later 2>/dev/null; ls -l /bin/busybox | wc -l; exit 7";

fn a_container_of_each_maker_runs_with_no_registry(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.sandbox_image(PAUSE);
    setup.stow(&fixture("pause.tar").path);
    for (file, name, _) in ARCHIVES {
        let fixture = fixture(file);
        assert!(
            fixture.names.contains(&name.to_owned()),
            "{file}: {:?}",
            fixture.names
        );
        setup.stow(&fixture.path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let images = stowd.store().images();
    let runtime = Runtime::new().unwrap();
    let logs = tempfile::tempdir().unwrap();
    for (number, (_, name, made_by)) in ARCHIVES.into_iter().enumerate() {
        let (repository, _) = name.rsplit_once(':').unwrap();
        let by_digest = format!("{repository}@{}", images[name].target);
        // As Docker's users write it in a pod.
        let short = name.strip_prefix("docker.io/library/").map(str::to_owned);
        for (way, reference) in [Some(name.to_owned()), Some(by_digest), short]
            .into_iter()
            .flatten()
            .enumerate()
        {
            let dir = logs.path().join(format!("{number}-{way}"));
            std::fs::create_dir(&dir).unwrap();
            let address = stowd.address();
            let run = run_in_pod(&address, &dir, &reference, &["/bin/sh", "-c", SCRIPT]);
            let ran = runtime.block_on(run);
            assert_eq!(ran.exit_code, 7, "{reference}: {}", ran.log);
            let said = ran
                .log
                .lines()
                .map(|line| line.splitn(4, ' ').nth(3).unwrap())
                .collect::<Vec<_>>();
            assert_eq!(said, [made_by, "1"], "{reference}");
        }
    }
}

on_each_generation_in_turn!(a_container_of_each_maker_runs_with_no_registry);
