//! The puller over a store in memory: what it asks for, what it keeps, and what a registry that does
//! not answer costs.

use std::path::PathBuf;
use std::time::Duration;

use stowd::digest::Digest;
use stowd::entry::{Entry, Identity, Kind};
use stowd::image_store::{Descriptor, Image, Labels, PullError, StoreError};
use stowd::ledger::{FailureClass, ImportedImage, Keeps};
use stowd::needed_blob::NeededBlob;
use stowd::pin::{DEFAULT_PIN, RUNTIME_PIN};
use stowd::plan::{EntryResult, JobEnd};
use stowd::progress::Meter;
use stowd::puller::{PullListError, PullRules, Puller};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::memory_store::MemoryStore;
use crate::messages::Messages;

const A: &str = "registry.example/a:1";
const B: &str = "registry.example/b:1";
const SILENT: &str = "silent.example/c:1";

/// A list on disk, and a store.
struct Stage {
    dir: TempDir,
    store: MemoryStore,
    rules: PullRules,
    stop: CancellationToken,
    /// What the list has brought before.
    known: Vec<ImportedImage>,
    /// An archive brings this between the look and the pull.
    arrives: Option<(String, Image)>,
}

fn image(name: &str) -> Image {
    Image {
        name: name.to_owned(),
        target: Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: Digest::of(name.as_bytes()),
            size: name.len() as u64,
        },
        labels: Labels::new(),
    }
}

impl Stage {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            store: MemoryStore::default(),
            rules: PullRules {
                extra_registries: Vec::new(),
                parallel: 2,
                timeout: Duration::from_secs(60),
                auth_file: None,
            },
            stop: CancellationToken::new(),
            known: Vec::new(),
            arrives: None,
        }
    }

    /// The registry has these.
    fn serving(self, names: &[&str]) -> Self {
        for name in names {
            self.answering(name, Ok(image(name)));
        }
        self
    }

    fn answering(&self, name: &str, answer: Result<Image, PullError>) {
        self.store.state().registry.insert(name.to_owned(), answer);
    }

    fn list(&self, text: &str) -> Entry {
        let path = self.dir.path().join("core.txt");
        std::fs::write(&path, text).unwrap();
        let identity = Identity::of(&std::fs::metadata(&path).unwrap());
        Entry {
            path,
            kind: Kind::List,
            identity,
        }
    }

    /// A blob has other bytes from now on, or is gone.
    fn damage(&self, digest: &Digest, bytes: Option<Vec<u8>>) {
        let mut state = self.store.state();
        match bytes {
            None => drop(state.blobs.remove(digest)),
            Some(bytes) => state.blobs.get_mut(digest).unwrap().0 = bytes,
        }
    }

    /// What came of the list, and the images that the look found absent.
    async fn pull(&self, text: &str) -> (Result<EntryResult, PullListError>, Vec<String>) {
        self.pull_entry(&self.list(text), &Meter::default()).await
    }

    async fn pull_entry(
        &self,
        entry: &Entry,
        meter: &Meter,
    ) -> (Result<EntryResult, PullListError>, Vec<String>) {
        let puller = Puller::new(self.store.clone(), self.rules.clone());
        let pulled = self.store.state().pulled.len();
        let looked = match puller.look(entry, &self.known, meter).await {
            Ok(looked) => looked,
            Err(error) => return (Err(error), Vec::new()),
        };
        assert_eq!(self.store.state().leases, 0);
        assert_eq!(
            self.store.state().pulled.len(),
            pulled,
            "a look pulls nothing"
        );
        let absent = looked.absent.iter();
        let absent = absent
            .map(|line| line.reference.to_string())
            .collect::<Vec<_>>();
        if absent.is_empty() {
            return (Ok(looked.into()), absent);
        }
        if let Some((name, image)) = self.arrives.clone() {
            self.store.state().receive(&name, image);
        }
        let pulled = puller.pull(entry, &self.known, looked, meter, &self.stop);
        (pulled.await, absent)
    }
}

fn is_pinned(image: &Image) -> bool {
    [RUNTIME_PIN, DEFAULT_PIN]
        .iter()
        .all(|(key, value)| image.labels.get(*key).is_some_and(|had| had == value))
}

fn failed(cause: &str) -> Result<Image, PullError> {
    Err(PullError::Failed(cause.to_owned()))
}

fn by_digest(name: &str) -> String {
    let (repository, _) = name.rsplit_once(':').unwrap();
    format!("{repository}@{}", Digest::of(name.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_pinned_before_anything_is_pulled() {
    let stage = Stage::new().serving(&[A]);
    let there = image(B);
    stage.store.state().receive(B, there);
    let entry = stage.list(&format!("{A}\n{B}\n"));
    let puller = Puller::new(stage.store.clone(), stage.rules.clone());
    let meter = Meter::default();
    let looked = puller.look(&entry, &[], &meter).await.unwrap();
    for name in [B.to_owned(), by_digest(B)] {
        assert!(is_pinned(&stage.store.state().images[&name]), "{name}");
    }
    assert_eq!(stage.store.state().pulled, [""; 0]);
    let report = puller
        .pull(&entry, &[], looked, &Meter::default(), &stage.stop)
        .await;
    let report = report.unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.images.len(), 2);
    let state = stage.store.state();
    assert_eq!(state.pulled, [A]);
    for name in [A, B] {
        for name in [name.to_owned(), by_digest(name)] {
            assert!(is_pinned(&state.images[&name]), "{name}");
        }
    }
    assert_eq!(state.leases, 0);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_whole_before_and_is_damaged_is_pulled_again() {
    let mut stage = Stage::new().serving(&[A]);
    let (report, _) = stage.pull(A).await;
    stage.known = report.unwrap().images;
    let digest = image(A).target.digest;
    let needed = NeededBlob {
        digest: digest.clone(),
        size: A.len() as u64,
    };
    assert_eq!(stage.known[0].blobs, [needed]);
    let (report, absent) = stage.pull(A).await;
    assert_eq!(
        (report.unwrap().images, absent),
        (stage.known.clone(), vec![])
    );
    for damage in [
        None,
        Some(Vec::new()),
        Some(b"longer than it was before".to_vec()),
    ] {
        stage.damage(&digest, damage);
        let (report, absent) = stage.pull(A).await;
        assert_eq!(report.unwrap().images, stage.known);
        assert_eq!(absent, [A]);
        assert_eq!(stage.store.state().blobs[&digest].0, A.as_bytes());
    }
    // Where something is to be thrown away, the registry is asked before.
    assert_eq!(stage.store.state().pulled, [A; 6]);
    // What has no record may be another namespace's.
    let discarded = stage.store.state().discarded.clone();
    assert_eq!(discarded, [digest.clone(), digest]);
    assert_eq!(stage.store.state().leases, 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_now_is_not_damaged() {
    let stage = Stage::new().serving(&[A]);
    stage.pull(A).await.0.unwrap();
    let digest = image(A).target.digest;
    stage.store.state().fail_read = Some(StoreError::Refused {
        call: "Content.Read",
        cause: "too many open files".to_owned(),
    });
    let (report, absent) = stage.pull(A).await;
    let report = report.unwrap();
    assert_eq!(report.class, FailureClass::Environment);
    assert_eq!(report.problems.len(), 1);
    assert!(
        report.problems[0].ends_with("too many open files"),
        "{:?}",
        report.problems
    );
    assert_eq!((absent.len(), stage.store.state().discarded.len()), (0, 0));
    assert_eq!(stage.store.state().pulled, [A]);
    stage.store.state().fail_read = Some(StoreError::Damaged {
        digest: digest.clone(),
    });
    stage.pull(A).await.0.unwrap();
    let state = stage.store.state();
    assert_eq!(
        (state.discarded.as_slice(), state.pulled.len()),
        ([digest].as_slice(), 3)
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_index_lists_and_is_too_long_for_a_document_is_not_read() {
    let long = vec![b' '; 9 << 20];
    let (digest, size) = (Digest::of(&long), long.len());
    let stage = Stage::new().serving(&[A]);
    stage.pull(A).await.0.unwrap();
    let index = format!(r#"{{"manifests":[{{"digest":"{digest}","size":{size}}}]}}"#);
    stage.damage(&image(A).target.digest, Some(index.into_bytes()));
    let long = (long, Labels::new());
    stage.store.state().blobs.insert(digest.clone(), long);
    let (report, absent) = stage.pull(A).await;
    let report = report.unwrap();
    assert_eq!((report.problems.len(), absent.len()), (0, 0));
    let needed = NeededBlob {
        digest: digest.clone(),
        size: size as u64,
    };
    assert!(report.images[0].blobs.contains(&needed));
    assert!(
        stage
            .store
            .state()
            .read
            .iter()
            .all(|(read, _)| *read != digest)
    );
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_as_the_runtime_has_them_and_pulled_once() {
    let hub = "docker.io/library/alpine:3";
    let digest = Digest::of(b"x");
    let pinned = format!("registry.example:5000/x@{digest}");
    let stage = Stage::new().serving(&[hub, "docker.io/library/busybox:latest", &pinned]);
    let list = format!(
        "alpine:3\nindex.docker.io/library/alpine:3 # the same\ndocker.io/alpine:3\nbusybox\n\
         registry.example:5000/x:7@{digest}\n"
    );
    let meter = Meter::default();
    let (report, _) = stage.pull_entry(&stage.list(&list), &meter).await;
    assert_eq!(report.unwrap().problems, [""; 0]);
    let state = stage.store.state();
    let mut pulled = state.pulled.clone();
    pulled.sort();
    let expected = [
        "docker.io/library/alpine:3",
        "docker.io/library/busybox:latest",
        &pinned,
    ];
    assert_eq!(pulled, expected);
    assert!(state.looked_up.iter().all(|name| pulled.contains(name)));
    assert_eq!(meter.bytes(), 3, "lines that name one image are one");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_fails_costs_no_other_line_anything() {
    let stage = Stage::new().serving(&[A, B]);
    stage.answering("registry.example/x:1", failed("404 Not Found\nforged"));
    stage.answering(
        "registry.example/y:1",
        failed("429 Too Many Requests: Retry-After: 7"),
    );
    let list = format!("{A}\nno reference\nregistry.example/x:1\nregistry.example/y:1\n{B}\n");
    let (report, _) = stage.pull(&list).await;
    let report = report.unwrap();
    assert_eq!(report.images.len(), 2);
    let [grammar, missing, throttled] = report.problems.try_into().unwrap();
    assert!(grammar.starts_with("line 2: "), "{grammar}");
    assert_eq!(
        missing,
        r"line 3: registry.example/x:1: 404 Not Found\nforged"
    );
    assert!(
        throttled.starts_with("line 4: registry.example/y:1: 429"),
        "{throttled}"
    );
    assert_eq!(report.not_before, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_fails_alike_is_told_once() {
    let messages = Messages::default();
    let subscriber = tracing_subscriber::registry().with(messages.layer());
    // Where there is one subscriber alone, tracing asks that of the thread that comes to a line first: it
    // may be another test's, which has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut stage = Stage::new().serving(&[A]);
    stage.rules.auth_file = Some("/nowhere/config.json".into());
    let puller = Puller::new(stage.store.clone(), stage.rules.clone());
    let (x, meter) = ("registry.example/x:1", Meter::default());
    let list = stage.list(&format!("{A}\nno reference\n{x}\n"));
    let attempt = async |error: &str| {
        stage.answering(x, failed(error));
        let looked = puller.look(&list, &[], &meter).await.unwrap();
        let pulled = puller.pull(&list, &[], looked, &meter, &stage.stop);
        assert_eq!(pulled.await.unwrap().problems.len(), 3);
        messages.all()
    };
    let first = attempt("dial tcp 10.0.0.3:41873: refused").await;
    let begins = ["not pulled", "pulling without credentials", "not pulled"];
    let is_told = first
        .iter()
        .zip(begins)
        .all(|(told, begins)| told.starts_with(begins));
    assert!(first.len() == 3 && is_told, "{first:?}");
    assert_eq!(attempt("dial tcp 10.0.0.3:52001: refused").await, first);
    let other = attempt("404 Not Found").await;
    assert_eq!(other.len(), 4, "{other:?}");
    assert!(other[3].contains("404 Not Found"), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_costs_the_timeout_and_no_more_pulls_than_allowed() {
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("registry.example/{name}:1"));
    let stage = Stage::new().serving(&names.each_ref().map(String::as_str));
    let begun = tokio::time::Instant::now();
    let (report, _) = stage
        .pull(&format!("{SILENT}\n{}\n", names.join("\n")))
        .await;
    let report = report.unwrap();
    assert_eq!(report.images.len(), 5);
    assert_eq!(
        report.problems,
        [format!(
            "line 1: {SILENT}: not pulled within 1m (lists.pull-timeout)"
        )]
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
    assert_eq!(stage.store.state().most_pulling, 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_given_up_ends_at_once_and_holds_no_lease() {
    let stage = Stage::new().serving(&[A]);
    let begun = tokio::time::Instant::now();
    let stop = stage.stop.clone();
    let stopping = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.cancel();
    });
    let (report, _) = stage.pull(&format!("{SILENT}\n{A}\n")).await;
    stopping.await.unwrap();
    assert!(matches!(report, Err(PullListError::Changed)), "{report:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    let state = stage.store.state();
    assert_eq!(state.leases, 0);
    assert!(
        is_pinned(&state.images[A]),
        "what was pulled before is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_no_line_s_fault() {
    let stage = Stage::new().serving(&[A]);
    let away = StoreError::Unreachable {
        call: "ImageStatus",
        cause: "connection refused".to_owned(),
    };
    stage.store.state().away = Some(away.clone());
    let (report, _) = stage.pull(A).await;
    assert!(
        matches!(&report, Err(PullListError::Store(error)) if *error == away),
        "{report:?}"
    );
    stage.store.state().away = None;
    stage.answering(A, Err(PullError::Store(away)));
    let (report, _) = stage.pull(A).await;
    assert!(matches!(report, Err(PullListError::Store(_))), "{report:?}");
    assert_eq!(stage.store.state().leases, 0);
}

#[tokio::test(start_paused = true)]
async fn another_version_of_the_list_is_not_taken_for_this_one() {
    let stage = Stage::new().serving(&[A]);
    let entry = stage.list(A);
    stage.list("# longer than before, and another version of the file\n");
    let (report, _) = stage.pull_entry(&entry, &Meter::default()).await;
    assert!(matches!(report, Err(PullListError::Changed)), "{report:?}");
    assert!(stage.store.state().pulled.is_empty());
}

#[tokio::test(start_paused = true)]
async fn extra_registries_name_what_is_pulled_too() {
    let mut stage = Stage::new().serving(&[A]);
    stage.rules.extra_registries = vec!["mirror.example/m".to_owned()];
    let (report, _) = stage.pull(A).await;
    let [image] = report.unwrap().images.try_into().unwrap();
    let digest = Digest::of(A.as_bytes());
    let expected = [
        A.to_owned(),
        by_digest(A),
        "mirror.example/m/a:1".to_owned(),
        format!("mirror.example/m/a@{digest}"),
    ];
    assert_eq!(image.names, expected);
}

#[tokio::test(start_paused = true)]
async fn credentials_go_to_their_registry_and_nothing_of_them_into_an_error() {
    let mut stage = Stage::new().serving(&[A, "other.example/b:1"]);
    let file = stage.dir.path().join("config.json");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(r#"{"auths":{"registry.example":{"username":"jim","password":"hunter2"}}}"#);
    stage.rules.auth_file = Some(file.clone());
    let (report, _) = stage.pull(&format!("{A}\nother.example/b:1\n")).await;
    assert_eq!(report.unwrap().problems, [""; 0]);
    assert_eq!(stage.store.state().logins, ["jim"]);

    stage.answering(A, failed("401 Unauthorized"));
    for bad in [
        r#"{"auths":{"registry.example":{"auth":"hunter2!"}}}"#,
        r#"{"hunter2"#,
        "hunter2",
    ] {
        write(bad);
        stage.store.state().images.clear();
        let (report, _) = stage.pull(A).await;
        let [cause, line] = report.unwrap().problems.try_into().unwrap();
        let begins = format!("lists.auth-file: {}: ", file.display());
        assert!(cause.starts_with(&begins), "{cause}");
        assert!(!cause.contains("hunter2"), "{cause}");
        assert_eq!(line, format!("line 1: {A}: 401 Unauthorized"));
    }
    stage.rules.auth_file = Some(PathBuf::from("/nowhere/config.json"));
    let (report, _) = stage.pull(A).await;
    let problem = report.unwrap().problems.join(" ");
    let begins = "lists.auth-file: /nowhere/config.json: cannot be read: ";
    assert!(problem.starts_with(begins), "{problem}");

    stage.answering(A, Ok(image(A)));
    let (report, _) = stage.pull(A).await;
    assert_eq!(report.unwrap().problems, [""; 0], "it is pulled without");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_lines_are_pulled_a_few_at_a_time() {
    let names = (0..1000)
        .map(|n| format!("registry.example/{n}:1"))
        .collect::<Vec<_>>();
    let mut stage = Stage::new().serving(&names.iter().map(String::as_str).collect::<Vec<_>>());
    stage.rules.parallel = 4;
    let meter = Meter::default();
    let (report, _) = stage
        .pull_entry(&stage.list(&names.join("\r\n")), &meter)
        .await;
    assert_eq!(report.unwrap().images.len(), 1000);
    assert_eq!(
        stage.store.state().most_pulling,
        3,
        "all but one of the permits"
    );
    assert_eq!(meter.bytes(), 1000);
    let (report, absent) = stage.pull(&names.join("\n")).await;
    assert_eq!(report.unwrap().images.len(), 1000);
    assert_eq!(absent, [""; 0]);
    assert_eq!(
        stage.store.state().pulled.len(),
        1000,
        "none of them a second time"
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_archive_brings_meanwhile_is_not_pulled() {
    let mut stage = Stage::new();
    stage.arrives = Some((A.to_owned(), image(A)));
    let (report, _) = stage.pull(A).await;
    assert_eq!(report.unwrap().images.len(), 1);
    assert_eq!(stage.store.state().pulled, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_wrong_takes_nothing_from_the_list() {
    let stage = Stage::new().serving(&[A]);
    stage.answering(B, failed("503"));
    let (report, _) = stage.pull(&format!("{A}\n{B}\n")).await;
    assert_eq!(report.unwrap().keeps, Keeps::Named([B.to_owned()].into()));
    let (report, _) = stage.pull(&format!("{A}\n{B} oops\n")).await;
    let report = report.unwrap();
    assert_eq!(report.keeps, Keeps::All, "what it was to be is not known");
    stage.answering(B, Ok(image(B)));
    let (report, _) = stage.pull(&format!("{A}\n{B} oops\n")).await;
    assert_eq!(report.unwrap().class, FailureClass::Content);
}

#[tokio::test(start_paused = true)]
async fn a_name_of_the_list_is_no_extra_name_of_another_line() {
    let own = "mirror.example/a:1";
    let mut stage = Stage::new().serving(&[A, own, "other.example/b:1", B]);
    stage.rules.extra_registries = vec!["mirror.example".to_owned()];
    let list = format!("{A}\n{own}\nother.example/b:1\n{B}\n");
    for _ in 0..2 {
        let (report, _) = stage.pull(&list).await;
        assert_eq!(report.unwrap().problems, [""; 0]);
        let state = stage.store.state();
        assert_eq!(state.images[own].target, image(own).target);
        let last = &state.images["mirror.example/b:1"].target;
        assert_eq!(*last, image(B).target, "the last line has it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_repeats_a_login_does_not_get_it_into_the_log() {
    let mut stage = Stage::new();
    let file = stage.dir.path().join("config.json");
    std::fs::write(
        &file,
        r#"{"auths":{"registry.example":{"username":"jim","password":"hunter2"}}}"#,
    )
    .unwrap();
    stage.rules.auth_file = Some(file);
    // The base64 of jim:hunter2.
    stage.answering(
        A,
        failed("denied: you sent Basic amltOmh1bnRlcjI= for hunter2"),
    );
    let (report, _) = stage.pull(A).await;
    let expected = format!("line 1: {A}: denied: you sent Basic … for …");
    assert_eq!(report.unwrap().problems, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_pages_fills_no_log() {
    let stage = Stage::new();
    let pages = "x".repeat(1 << 20);
    let throttled = format!("{pages}: 429 Too Many Requests: Retry-After: 7");
    stage.answering(A, failed(&throttled));
    let (report, _) = stage.pull(A).await;
    let report = report.unwrap();
    assert_eq!(report.not_before, Duration::from_secs(7), "it is heard");
    let [problem] = report.problems.try_into().unwrap();
    assert!(
        problem.ends_with('…') && problem.len() < 600,
        "{}",
        problem.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_looked_at_any_more_has_not_changed() {
    let stage = Stage::new().serving(&[A]);
    let entry = stage.list(A);
    let path = entry.path.clone();
    // In the middle of the pull.
    let breaking = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
    });
    let (report, _) = stage.pull_entry(&entry, &Meter::default()).await;
    breaking.await.unwrap();
    let error = report.unwrap_err();
    assert_eq!(error.class(), FailureClass::Environment);
    let error = error.to_string();
    assert!(
        error.starts_with("cannot be read: Too many levels of symbolic links"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_so_until_it_changes_and_a_store_that_is_away_says_nothing_of_it() {
    let stage = Stage::new();
    let (report, _) = stage.pull("\0").await;
    let error = report.unwrap_err();
    assert_eq!(error.class(), FailureClass::Content, "{error}");
    assert!(!error.is_store_away());
    // Checksums beside archives are plainly none, and no failure.
    let checksum = format!("{}  images.tar\n", Digest::of(b"images").hex());
    let (report, _) = stage.pull(&checksum).await;
    let end = JobEnd::from(report.unwrap_err());
    assert!(matches!(end, JobEnd::NoList(_)), "{end:?}");
    let away = PullListError::Store(StoreError::Unreachable {
        call: "ImageStatus",
        cause: "connection refused".to_owned(),
    });
    assert!(away.is_store_away());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_gone_has_not_failed() {
    let stage = Stage::new();
    let entry = stage.list(A);
    std::fs::remove_file(&entry.path).unwrap();
    let (report, _) = stage.pull_entry(&entry, &Meter::default()).await;
    assert!(matches!(report, Err(PullListError::Changed)), "{report:?}");
}
