//! `stowd import`: archives into the containerd that runs, at once.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::config::Config;
use crate::entry::shown;
use crate::image_store::ImageStore;
use crate::importer::ImportError;
use crate::logging::{self, InitError};
use crate::one_line::one_line;
use crate::operator::{ImportedFile, NotConnected, OperatorImport, connect};
use crate::pin::{OPERATOR, PinOwner};
use crate::platform::{Platform, PlatformError, Wanted};
use crate::progress::{Meter, counted};
use crate::shutdown::Shutdown;
use crate::unpack::UnpackWhen;

use super::input::{Input, UnfitInput};
use super::progress_bar::WorkShown;

/// What is logged beside what the command itself says, where nothing else is asked for.
const LOGGED: &str = "warn";

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum NotImported {
    #[error(transparent)]
    Logging(#[from] InitError),
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Connection(#[from] NotConnected),
}

/// Why nothing of a file was imported.
#[derive(Debug, thiserror::Error)]
enum FileNotImported {
    #[error(transparent)]
    Input(#[from] UnfitInput),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("interrupted; nothing of it has a name")]
    Interrupted,
}

/// Imports the files, one after another. `say` gets what came of each, `complain` each problem. Returns
/// whether all of them were imported whole, and unpacked. A first signal ends it in order, a second at once.
pub fn import(
    config: &Config,
    files: &[PathBuf],
    log_level: Option<&str>,
    say: impl FnMut(&str),
    complain: impl FnMut(&str),
) -> Result<bool, NotImported> {
    logging::init(log_level.unwrap_or(LOGGED))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let imported = runtime.block_on(async {
        let Shutdown { stop, force } = Shutdown::listen()?;
        tokio::select! {
            biased;
            () = force.cancelled() => Ok(false),
            imported = import_all(config, files, &stop, say, complain) => imported,
        }
    });
    // A thread may still wait for what comes through a pipe.
    runtime.shutdown_background();
    imported
}

async fn import_all(
    config: &Config,
    files: &[PathBuf],
    stop: &CancellationToken,
    mut say: impl FnMut(&str),
    mut complain: impl FnMut(&str),
) -> Result<bool, NotImported> {
    let images = &config.images;
    let wanted = Wanted::from_config(&images.platforms, Platform::host())?;
    let connected = connect(config, PinOwner::of_instance(OPERATOR));
    let Some(connected) = stop.run_until_cancelled(connected).await else {
        return Ok(false);
    };
    let importer = OperatorImport::new(connected?, wanted, images.extra_registries.clone());
    let mut is_well = true;
    for file in files {
        let began = Instant::now();
        let problems = match import_file(&importer, file, images.unpack, stop).await {
            Ok(imported) => {
                say(&text(file, &imported, began.elapsed()));
                imported.problems
            }
            Err(error) => vec![error.to_string()],
        };
        is_well &= problems.is_empty();
        for problem in problems {
            complain(&format!("{}: {problem}", file.display()));
        }
        if stop.is_cancelled() {
            return Ok(false);
        }
    }
    Ok(is_well)
}

async fn import_file<S: ImageStore>(
    importer: &OperatorImport<S>,
    file: &Path,
    unpack: UnpackWhen,
    stop: &CancellationToken,
) -> Result<ImportedFile, FileNotImported> {
    let name = Path::new(file.file_name().unwrap_or_default()).display();
    let named = file.to_owned();
    let reading = WorkShown {
        doing: format!("reading {name}"),
        bytes: None,
    };
    let opened = reading.during(blocking(move || Input::named(&named)));
    let opened = stop.run_until_cancelled(opened).await;
    let input = opened.ok_or(FileNotImported::Interrupted)??;
    let size = std::fs::metadata(&input.path)
        .map_err(UnfitInput::from)?
        .len();
    let meter = Meter::default();
    let importing = WorkShown {
        doing: format!("importing {name}"),
        bytes: Some((&meter, size)),
    };
    let work = importer.archive(&input.path, &meter, stop);
    let mut imported = match importing.during(work).await {
        Err(_) if stop.is_cancelled() => return Err(FileNotImported::Interrupted),
        imported => imported?,
    };
    if unpack == UnpackWhen::Never {
        return Ok(imported);
    }
    for image in &imported.images.clone() {
        let name = image.name_to_show();
        let unpacking = WorkShown {
            doing: format!("unpacking {name}"),
            bytes: None,
        };
        let work = importer.unpack(image, &mut imported);
        if stop
            .run_until_cancelled(unpacking.during(work))
            .await
            .is_none()
        {
            let problem = "interrupted before all of it was unpacked";
            imported.problems.push(problem.to_owned());
            break;
        }
    }
    Ok(imported)
}

/// What was imported, for people.
fn text(file: &Path, imported: &ImportedFile, took: Duration) -> String {
    let mut text = String::new();
    for image in &imported.images {
        for name in image.names_to_show() {
            let _ = writeln!(text, "{name}");
        }
    }
    let images = counted(imported.images.len(), "image", "images");
    let _ = writeln!(
        text,
        "{}: {images}, {} unpacked, in {:.1} s",
        shown(file),
        imported.unpacked,
        took.as_secs_f64()
    );
    for note in &imported.notes {
        let _ = writeln!(text, "  {}", one_line(note));
    }
    text
}
