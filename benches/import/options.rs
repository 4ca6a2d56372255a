//! What is to be measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Times stowd against `ctr images import`, and against the least that the work can cost.
#[derive(Debug, Parser)]
#[command(bin_name = "sudo benches/run")]
pub(crate) struct Options {
    /// Rounds of each case; the medians are told.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// A generation of containerd: 1.6, 1.7, 2.1, 2.3 or 2.4; more than once for several. Default: 2.3 and 1.7.
    #[arg(long = "generation", value_name = "NAME", value_parser = generation)]
    generations: Vec<&'static str>,

    /// A case; more than once for several. Default: all.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<Case>,

    /// The layers of what is unpacked; more than once for several. Default: all.
    #[arg(long = "layers", value_name = "KIND")]
    layers: Vec<Layers>,

    /// Whether the archives come from the disk or from the page cache.
    #[arg(long, value_name = "HOW", default_value = "cold")]
    pub(crate) input: Input,

    /// Which values of images.direct are measured, if this stowd has that key.
    #[arg(long, value_name = "VALUES", default_value = "default")]
    pub(crate) direct: Direct,

    /// Leave out ctr's default mode, the Transfer service, which takes long.
    #[arg(long)]
    pub(crate) no_transfer: bool,

    /// Measure this stowd instead of the one that was built.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Small archives, one round, one generation, no optimisation: shows that the benchmark works. Its
    /// numbers mean nothing.
    #[arg(long, conflicts_with = "write_results")]
    pub(crate) quick: bool,

    /// Write the tables to a file as well; without a name, to benches/RESULTS.md.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md"),
    )]
    pub(crate) write_results: Option<PathBuf>,

    /// cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Six images in an OCI archive, plain.
    #[value(name = "tar")]
    Tar,
    /// The same in zstd.
    #[value(name = "tar.zst")]
    TarZst,
    /// The same in gzip.
    #[value(name = "tar.gz")]
    TarGz,
    /// The same images in a docker-archive, plain.
    #[value(name = "docker")]
    Docker,
    /// Eight other archives, of all these kinds.
    #[value(name = "set")]
    Set,
    /// Many archives of a few KiB, each of three blobs.
    #[value(name = "small")]
    Small,
    /// One archive of many blobs from 64 KiB to 1 MiB.
    #[value(name = "blobs")]
    Blobs,
    /// One image of four layers, unpacked and run.
    #[value(name = "large")]
    Large,
    /// The six images, unpacked and run.
    #[value(name = "shared")]
    Shared,
    /// Forty images of a few MB, unpacked and run.
    #[value(name = "forty")]
    Forty,
    /// The plain archive a second time, with the ledger deleted. Brings the case tar with it.
    #[value(name = "again")]
    Again,
    /// A start with archives that were imported before.
    #[value(name = "restart")]
    Restart,
    /// What stowd takes of memory and wakes up for nothing.
    #[value(name = "memory")]
    Memory,
}

impl Case {
    /// As `--case` has it.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// How the layers in an archive are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layers {
    Plain,
    Gzip,
    Zstd,
}

impl Layers {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Zstd];

    /// As `--layers` has it, and the names of the archives.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Where the archives come from when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// From the disk, as when a node boots.
    Cold,
    /// From the page cache, as when they were just downloaded.
    Warm,
}

/// Which values of `images.direct` are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direct {
    /// The one that stowd has by itself.
    Default,
    /// On.
    True,
    /// Off.
    False,
    /// Off and on.
    Both,
}

const GENERATIONS: [&str; 5] = ["1.6", "1.7", "2.1", "2.3", "2.4"];

fn generation(name: &str) -> Result<&'static str, String> {
    let mut all = GENERATIONS.into_iter();
    let found = all.find(|generation| *generation == name);
    found.ok_or_else(|| format!("there are {}", GENERATIONS.join(", ")))
}

impl Options {
    /// Where the archives are, as `benches/run` has made them.
    pub(crate) fn archives(&self) -> PathBuf {
        let size = if self.quick { "quick" } else { "full" };
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench")).join(size)
    }

    /// The stowd that is measured.
    pub(crate) fn binary(&self) -> PathBuf {
        let built = || PathBuf::from(env!("CARGO_BIN_EXE_stowd"));
        let binary = self.binary.clone().unwrap_or_else(built);
        std::fs::canonicalize(&binary)
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()))
    }

    /// Which generations of containerd, by the names that the tests have for them.
    pub(crate) fn generations(&self) -> Vec<&'static str> {
        match (self.generations.is_empty(), self.quick) {
            (false, _) => self.generations.clone(),
            (true, true) => vec!["2.3"],
            (true, false) => vec!["2.3", "1.7"],
        }
    }

    /// Whether a case is wanted.
    pub(crate) fn wants(&self, case: Case) -> bool {
        self.cases.is_empty()
            || self.cases.contains(&case)
            || (case == Case::Tar && self.cases.contains(&Case::Again))
    }

    /// Whether images of this case are unpacked whose layers are of this kind. A trial has one of each where
    /// it is not told which.
    pub(crate) fn wants_layers(&self, case: Case, layers: Layers) -> bool {
        let is_tried = !self.quick || !self.cases.is_empty();
        let is_tried = is_tried || (case == Case::Shared && layers == Layers::Zstd);
        self.wants(case) && is_tried && (self.layers.is_empty() || self.layers.contains(&layers))
    }

    /// How many rounds.
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.runs }
    }

    /// How long a load goes on to end after READY: pins are looked at when nothing has come for
    /// `images.settle`, and threads that have nothing to do end after ten seconds.
    pub(crate) fn winding_down(&self) -> Duration {
        Duration::from_secs(if self.quick { 0 } else { 15 })
    }

    /// How many seconds stowd is watched while it has nothing to do.
    pub(crate) fn idle_seconds(&self) -> u64 {
        if self.quick { 1 } else { 10 }
    }
}
