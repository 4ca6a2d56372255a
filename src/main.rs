//! The stowd daemon.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use stowd::cli::{Cli, Command};
use stowd::service::{HostEdges, Mode};
use stowd::{allocator, commands, config};

/// The configuration is wrong (sysexits.h, EX_CONFIG).
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    allocator::set_up();
    let cli = Cli::parse();
    let inputs = cli.inputs();
    let command = cli.command_or_run();
    let loaded = match config::load(&inputs) {
        Ok(loaded) => loaded,
        Err(error) => {
            error.problems.iter().for_each(tell);
            if let Command::Run(_) = command {
                commands::run::tell_failure(&format_args!("configuration: {error}"));
            }
            return ExitCode::from(EX_CONFIG);
        }
    };
    let done = match command {
        Command::Check(args) => {
            for warning in &loaded.warnings {
                tell(&format!("warning: {warning}"));
            }
            let rust_log = std::env::var("RUST_LOG").ok();
            if args.quiet {
                return ExitCode::SUCCESS;
            }
            commands::check::check(&loaded, rust_log.as_deref(), &mut io::stdout().lock())
                .map(|()| ExitCode::SUCCESS)
                .map_err(|error| format!("standard output cannot be written to: {error}"))
        }
        Command::Run(args) => {
            let mode = if args.once { Mode::Once } else { Mode::Daemon };
            commands::run::run(loaded, inputs, mode, &HostEdges).map_err(|error| {
                commands::run::tell_failure(&error);
                error.to_string()
            })
        }
    };
    done.unwrap_or_else(|error| {
        tell(&error);
        ExitCode::FAILURE
    })
}

/// A line on stderr. If that is closed, there is no other way to say so.
fn tell(line: &impl Display) {
    let _ = writeln!(io::stderr(), "stowd: {line}");
}
