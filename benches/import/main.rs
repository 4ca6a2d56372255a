//! Times stowd against `ctr images import`, and against the least that the work can cost.
//!
//! `benches/run` prepares everything and runs this. The speed is printed, never asserted: the targets
//! stand beside it. Nothing is measured in a containerd that was used before, but for what is about
//! the second time.

// A measurement that cannot be made ends the run: a panic is how that is said, and on its way out it
// ends what was started. The private containerd is the tests' own.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod archives;
mod attached;
mod contender;
mod cpu_time;
mod ctr;
mod figures;
mod floor;
mod footprint;
mod import;
mod machine;
mod options;
mod page_cache;
mod report;
mod restart;
mod tar_bodies;
mod targets;
mod unpack;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use archives::Archives;
use contender::contenders;
use options::{Case, Options};
use report::{Measured, Report};
use support::generation;

fn main() -> ExitCode {
    let options = Options::parse();
    if !rustix::process::geteuid().is_root() {
        eprintln!("containerd needs root: run sudo benches/run");
        return ExitCode::FAILURE;
    }
    let archives = Archives::read(&options.archives());
    archives.wait_until_settled();
    let mut report = Report::begin(&options);
    for name in options.generations() {
        report.add(&measure(name, &archives, &options));
    }
    let text = report.finish();
    println!("{text}");
    if let Some(file) = &options.write_results {
        write(file, &text);
    }
    ExitCode::SUCCESS
}

/// All the cases that are wanted, on one generation of containerd.
fn measure(name: &'static str, archives: &Archives, options: &Options) -> Measured {
    let generation = generation(name);
    let contenders = contenders(&generation, options);
    let imports = import::cases(archives, options)
        .into_iter()
        .map(|case| import::measure(&generation, &contenders, case, options));
    let imports = imports.collect();
    let unpacks = unpack::cases(archives, options)
        .into_iter()
        .map(|case| unpack::measure(&generation, case, options));
    let unpacks = unpacks.collect();
    let restarts = options
        .wants(Case::Restart)
        .then(|| restart::measure(&generation, &contenders, archives, options));
    let footprints = options
        .wants(Case::Memory)
        .then(|| footprint::measure(&generation, &contenders, archives, options));
    Measured {
        containerd: machine::version_of(&generation.containerd()),
        generation: name,
        imports,
        unpacks,
        restarts: restarts.unwrap_or_default(),
        footprints: footprints.unwrap_or_default(),
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, format!("{text}\n"))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    eprintln!("written: {}", file.display());
}
