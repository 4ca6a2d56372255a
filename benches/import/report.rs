//! The tables, in Markdown.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::contender::Took;
use crate::figures::{head, median, median_time, ratio, row, size, spread, time};
use crate::footprint::{Footprint, Footprints};
use crate::import::{Imported, Line};
use crate::machine;
use crate::options::{Case, Direct, Input, Options};
use crate::restart::Restarts;
use crate::targets;
use crate::unpack::{self, UnpackedCase};

/// What was measured on one generation of containerd.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) generation: &'static str,
    /// Its version.
    pub(crate) containerd: String,
    pub(crate) imports: Vec<Imported>,
    pub(crate) unpacks: Vec<UnpackedCase>,
    pub(crate) restarts: Vec<Restarts>,
    pub(crate) footprints: Vec<Footprints>,
}

/// The text as it grows.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
    load: f64,
}

impl Report {
    /// What was measured, how and on what.
    pub(crate) fn begin(options: &Options) -> Self {
        let mut text = "# stowd against `ctr images import`, and against the floor\n\n".to_owned();
        if options.quick {
            text += "**A trial of the benchmark: its figures mean nothing.**\n\n";
        }
        let load = machine::load();
        if machine::is_busy(load) {
            text += "**The machine was busy with other work: these figures are not what it can do.**\n\n";
        }
        let now = SystemTime::now();
        text += &format!(
            "Made by `sudo benches/run` ({}) at {}.\n\n",
            std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            humantime::format_rfc3339_seconds(now)
        );
        text += &format!("- {}\n", stowd(options));
        for fact in machine::facts() {
            text += &format!("- {fact}\n");
        }
        text += &format!(
            "- {}; rounds, in which everybody has a turn: {}\n",
            match options.input {
                Input::Cold => "archives not in the page cache",
                Input::Warm => "archives in the page cache",
            },
            options.rounds()
        );
        Self { text, load }
    }

    /// The tables of one generation.
    pub(crate) fn add(&mut self, measured: &Measured) {
        let text = &mut self.text;
        *text += &format!("\n## containerd {}\n", measured.containerd);
        if !measured.imports.is_empty() {
            *text += "\n";
            *text += &imports(measured);
        }
        if !measured.unpacks.is_empty() {
            *text += "\n";
            *text += &unpack::tables(&measured.unpacks);
        }
        if !measured.restarts.is_empty() {
            *text += "\n";
            *text += &restarts(&measured.restarts);
        }
        if !measured.footprints.is_empty() {
            *text += "\n";
            *text += &footprints(&measured.footprints);
        }
    }

    /// All of it, with what the columns mean.
    pub(crate) fn finish(self) -> String {
        let Self { text, load } = self;
        format!(
            "{text}\n{LEGEND}\nLoad average of the machine at the beginning {load:.2}, at the end {:.2}.",
            machine::load()
        )
    }
}

const LEGEND: &str = "\
Every import is into a fresh containerd with an empty root, and ends when the images are listed: for
ctr with its exit, for stowd with READY, which it tells when CRI has them too. stowd is started as a
daemon and attaches to a containerd that serves already; its start is part of its time. In the first
table nothing is unpacked. ctr gets compressed archives from `zstd -dc` or `gzip -dc` through a pipe, and several
archives one after another. *processor* is the time that all of them spent on processors, containerd
included. *the floor* is the longer of two: decompressing the archive into nothing, by the fastest of
stowd's libraries and the programs on PATH; and hashing and writing its blobs with an fsync each, on
all processors at once. Targets are aims, not promises: *ctr takes* should be at least the target
beside it, *of the floor* at most.

What is unpacked is told as the shortest time and the median; ratios are of the shortest. *stowd* unpacks
before READY, as by default. *all unpacked* begins with a containerd that serves and ends with READY or with
ctr's exit; stowd has synced all of it to the disk by then, and ctr has not. *as k3s* is an import without
unpacking: CRI unpacks an image when its first container is created. *first container* begins at the same
time, and ends with the exit of a container, in a pod through CRI, of the image that comes last in the
archive. A pod of another image has run before in each containerd, so that shim and runc are in the page
cache. *its start* is that of this container alone, with its pod, and *second start* that of another one.
*the floor* here is the longer of decompressing all layers and of writing their files with tar, a layer a
processor, and syncfs.
";

fn stowd(options: &Options) -> String {
    let binary = options.binary();
    let version = machine::output(Command::new(&binary).arg("--version"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"])
        .current_dir(root);
    let mut line = version;
    let built = binary.starts_with(root.join("target"));
    let commit = machine::output(&mut git);
    if built && !commit.is_empty() {
        line += &format!(", built from {commit}");
    }
    let profile = binary.parent().and_then(Path::file_name);
    if built && profile.is_some_and(|profile| profile == "debug") {
        line += ", not optimised";
    }
    if options.direct != Direct::Default
        && !crate::attached::Stowd::knows(&binary, "STOWD_IMAGES__DIRECT", "true")
    {
        line += "; it has no key images.direct";
    }
    line
}

fn imports(measured: &Measured) -> String {
    let mut text = head(&[
        "import",
        "who",
        "median",
        "spread",
        "processor",
        "ctr takes",
        "target",
        "of the floor",
        "target",
    ]);
    for imported in &measured.imports {
        let floor = median_time(imported.floor.longer().1);
        let target = targets::import(measured.generation, imported.case.case);
        let firsts = |line: &Line| line.first.clone();
        let target = Targets {
            reference: target,
            floor: Some((floor, targets::FLOOR)),
        };
        text += &block(&title(imported), imported, firsts, &target);
        let (what, times) = imported.floor.longer();
        text += &row(&[
            "",
            &format!("the floor: {what}"),
            &time(floor),
            &spread(times),
            "",
            "",
            "",
            "",
            "",
        ]);
        if imported.case.again {
            let target = Targets {
                reference: Some(targets::AGAIN),
                floor: None,
            };
            let title = "`.tar` a second time, ledger deleted";
            text += &block(title, imported, |line| line.again.clone(), &target);
        }
    }
    text
}

/// What stowd is held against.
struct Targets {
    reference: Option<f64>,
    floor: Option<(Duration, f64)>,
}

/// A line for each contender that was measured.
fn block(
    title: &str,
    imported: &Imported,
    took: impl Fn(&Line) -> Vec<Took>,
    targets: &Targets,
) -> String {
    let walls = |line: &Line| took(line).iter().map(|took| took.wall).collect::<Vec<_>>();
    let lines = &imported.lines;
    let reference = lines.iter().find(|line| line.contender.is_reference());
    let reference = reference.map_or(Duration::ZERO, |line| median_time(&walls(line)));
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let walls = walls(line);
        let median = median_time(&walls);
        let cpus = took(line).iter().map(|took| took.cpu).collect::<Vec<_>>();
        let is_stowd = line.contender.is_stowd();
        let only = |text: String| if is_stowd { text } else { String::new() };
        let (floor, floor_target) = targets.floor.unwrap_or_default();
        text += &row(&[
            if number == 0 { title } else { "" },
            &line.contender.name(),
            &time(median),
            &spread(&walls),
            &time(median_time(&cpus)),
            &only(ratio(reference, median)),
            &only(
                targets
                    .reference
                    .map_or(String::new(), |n| format!("{n} x")),
            ),
            &only(ratio(median, floor)),
            &only(
                targets
                    .floor
                    .map_or(String::new(), |_| format!("{floor_target} x")),
            ),
        ]);
    }
    text
}

fn title(imported: &Imported) -> String {
    let archives = &imported.case.archives;
    let bytes = archives.iter().map(|archive| archive.plain_length()).sum();
    let what = match imported.case.case {
        Case::TarZst => "OCI, `.tar.zst`",
        Case::TarGz => "OCI, `.tar.gz`",
        Case::Docker => "docker-archive, `.tar`",
        Case::Set => "set of 8, of all kinds",
        Case::Blobs => "OCI, `.tar`, of many blobs",
        Case::Small => &format!("{} small ones, OCI, `.tar`", archives.len()),
        _ => "OCI, `.tar`",
    };
    format!("{what}, {}", size(bytes))
}

fn restarts(restarts: &[Restarts]) -> String {
    let mut text = head(&[
        "start to READY, archives unchanged",
        "who",
        "median",
        "spread",
        "target",
    ]);
    for one in restarts {
        let rows = [
            (&one.few, "archives"),
            (&one.many, "archives"),
            (&one.layered, "archives of 10 blobs"),
        ];
        for ((count, times), what) in rows {
            let target = (*count == 50).then(|| time(targets::RESTART));
            text += &row(&[
                &format!("{count} {what}"),
                &one.name,
                &time(median_time(times)),
                &spread(times),
                &target.unwrap_or_default(),
            ]);
        }
        let growths = [
            ("each archive more", one.growth()),
            ("each blob more", one.growth_by_blob()),
        ];
        for (what, growth) in growths {
            let growth = format!("{:.0} µs", growth.as_secs_f64() * 1e6);
            text += &row(&[what, &one.name, &growth, "", ""]);
        }
    }
    text
}

fn footprints(footprints: &[Footprints]) -> String {
    let mut text = head(&["footprint", "who", "median", "target"]);
    for one in footprints {
        // Bytes and counts here are far from where this loses digits.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let middle = |of: fn(&Footprint) -> u64| {
            let values = one.rounds.iter().map(|round| of(round) as f64);
            median(&values.collect::<Vec<_>>()).unwrap_or_default() as u64
        };
        text += &row(&[
            "resident at most, the set of 8 imported",
            &one.name,
            &size(middle(|round| round.peak)),
            &size(targets::PEAK),
        ]);
        text += &row(&[
            "resident, nothing to do",
            &one.name,
            &size(middle(|round| round.idle)),
            &size(targets::IDLE),
        ]);
        text += &row(&[
            &format!("wake-ups in {} s of nothing to do", one.watched.as_secs()),
            &one.name,
            &middle(|round| round.wake_ups).to_string(),
            &targets::wake_ups(one.watched).to_string(),
        ]);
    }
    text
}
