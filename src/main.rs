//! The stowd daemon.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use stowd::cli::{
    self, Cli, Command, ImportArgs, InspectArgs, RemoveArgs, RunArgs, StatusArgs, VerifyArgs,
};
use stowd::commands::inspect::{InspectedFile, json_document};
use stowd::commands::status::Request;
use stowd::commands::tell;
use stowd::config::{self, LoadError};
use stowd::platform::{Platform, Wanted};
use stowd::service::{HostEdges, Mode};
use stowd::{allocator, commands};

/// The configuration is wrong (sysexits.h, EX_CONFIG).
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    allocator::set_up();
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Run(args) => run(&cli, args),
        Command::Check(args) => check(&cli, args.quiet),
        Command::Doctor => doctor(&cli),
        Command::Status(args) => show_status(&cli, args),
        Command::Inspect(args) => inspect(&cli, args),
        Command::Import(args) => import(&cli, args),
        Command::Remove(args) => remove(&cli, args),
        Command::Verify(args) => verify(&cli, args),
        Command::Completions { shell } => print(&cli::completions(*shell)),
        Command::Version => print(&cli::version()),
    };
    match done {
        Ok(status) => status,
        Err(NotDone::Config(error)) => {
            error.problems.iter().for_each(tell);
            ExitCode::from(EX_CONFIG)
        }
        Err(NotDone::Other(error)) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// Why a command was not done.
enum NotDone {
    Config(LoadError),
    Other(String),
}

impl From<LoadError> for NotDone {
    fn from(error: LoadError) -> Self {
        Self::Config(error)
    }
}

impl From<String> for NotDone {
    fn from(error: String) -> Self {
        Self::Other(error)
    }
}

fn run(cli: &Cli, args: &RunArgs) -> Result<ExitCode, NotDone> {
    let mode = match args.once {
        true => Mode::Once,
        false => Mode::Daemon,
    };
    let inputs = cli.inputs();
    let loaded = config::load(&inputs).inspect_err(|error| {
        commands::run::tell_failure(&format_args!("configuration: {error}"));
    })?;
    let ran = commands::run::run(loaded, inputs, mode, args.keep, &HostEdges);
    ran.map_err(|error| {
        commands::run::tell_failure(&error);
        NotDone::Other(error.to_string())
    })
}

fn check(cli: &Cli, is_quiet: bool) -> Result<ExitCode, NotDone> {
    let loaded = config::load(&cli.inputs())?;
    for warning in &loaded.warnings {
        tell(&format!("warning: {warning}"));
    }
    if is_quiet {
        return Ok(ExitCode::SUCCESS);
    }
    let rust_log = std::env::var("RUST_LOG").ok();
    print(&commands::check::effective(&loaded, rust_log.as_deref()))
}

fn doctor(cli: &Cli) -> Result<ExitCode, NotDone> {
    let loaded = config::load(&cli.inputs())?;
    let (text, would_start) =
        commands::doctor::doctor(&loaded).map_err(|error| error.to_string())?;
    print(&text)?;
    Ok(status(would_start))
}

fn show_status(cli: &Cli, args: &StatusArgs) -> Result<ExitCode, NotDone> {
    let config = config::load(&cli.inputs())?.config;
    let request = Request {
        name: args.name.clone(),
        json: args.json,
    };
    if let Some(limit) = args.wait {
        commands::status::wait(&config, limit, |waits| eprintln!("waiting: {waits}"));
    }
    if args.watch {
        commands::status::watch(&config, &request, write_out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = commands::status::show(&config, &request)?;
    print(&shown.text)?;
    Ok(ExitCode::from(shown.exit_status))
}

fn inspect(cli: &Cli, args: &InspectArgs) -> Result<ExitCode, NotDone> {
    let images = config::load(&cli.inputs())?.config.images;
    let wanted = Wanted::from_config(&images.platforms, Platform::host());
    let wanted = wanted.map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    for path in &args.files {
        let file = InspectedFile::of(path, &wanted, &images.extra_registries);
        if !args.json {
            print(&file.text())?;
        }
        files.push(file);
    }
    if args.json {
        print(&json_document(&files))?;
    }
    Ok(status(files.iter().all(InspectedFile::is_whole)))
}

fn import(cli: &Cli, args: &ImportArgs) -> Result<ExitCode, NotDone> {
    let config = config::load(&cli.inputs())?.config;
    let level = cli.log_level();
    let imported = commands::import::import(&config, &args.files, level, say, |line| tell(&line));
    ended(imported)
}

fn remove(cli: &Cli, args: &RemoveArgs) -> Result<ExitCode, NotDone> {
    let config = config::load(&cli.inputs())?.config;
    let removed =
        commands::remove::remove(&config, &args.names, args.delete, say, |line| tell(&line));
    ended(removed)
}

fn verify(cli: &Cli, args: &VerifyArgs) -> Result<ExitCode, NotDone> {
    let config = config::load(&cli.inputs())?.config;
    let verified =
        commands::verify::verify(&config, &args.images, args.repair, say, |line| tell(&line));
    ended(verified)
}

/// The exit status of a command that tells whether all is well in the end.
fn ended(done: Result<bool, impl Error>) -> Result<ExitCode, NotDone> {
    match done {
        Ok(is_well) => Ok(status(is_well)),
        Err(error) => Err(error.to_string().into()),
    }
}

fn status(is_well: bool) -> ExitCode {
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Writes to standard output. A reader that has left is no error.
fn print(text: &str) -> Result<ExitCode, NotDone> {
    match write_out(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written to: {error}").into())
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes to standard output what was done already: that it cannot be written changes nothing.
fn say(text: &str) {
    if let Err(NotDone::Other(error)) = print(text) {
        tell(&error);
    }
}
