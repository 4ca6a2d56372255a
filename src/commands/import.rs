//! `stowd import`: archives into the containerd that runs, at once.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::image_store::ImageStore;
use crate::importer::ImportError;
use crate::logging::{self, InitError};
use crate::operator::{ImportedFile, NotConnected, OperatorImport, connect};
use crate::pin::{OPERATOR, PinOwner};
use crate::platform::{Platform, PlatformError, Wanted};
use crate::progress::{Meter, counted};
use crate::shutdown::Shutdown;
use crate::unpack::UnpackWhen;

use super::input::Input;
use super::progress_bar::Shown;

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

/// Imports the files, one after another. `say` gets what came of each, `complain` each problem. Returns
/// whether all of them were imported whole, and unpacked.
pub fn import(
    config: &Config,
    files: &[PathBuf],
    log_level: Option<&str>,
    say: impl FnMut(&str),
    complain: impl FnMut(&str),
) -> Result<bool, NotImported> {
    logging::init(log_level.unwrap_or(LOGGED))?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(import_all(config, files, say, complain))
}

async fn import_all(
    config: &Config,
    files: &[PathBuf],
    mut say: impl FnMut(&str),
    mut complain: impl FnMut(&str),
) -> Result<bool, NotImported> {
    let stop = Shutdown::listen()?.stop;
    let images = &config.images;
    let wanted = Wanted::from_config(&images.platforms, Platform::host())?;
    let store = connect(config, PinOwner::of_instance(OPERATOR)).await?;
    let importer = OperatorImport::new(store, wanted, images.extra_registries.clone());
    let mut is_well = true;
    for file in files {
        let began = Instant::now();
        let imported = import_file(&importer, file, images.unpack, &stop).await;
        let problems = match imported {
            Ok(imported) => {
                say(&text(file, &imported, began.elapsed()));
                imported.problems
            }
            Err(_) if stop.is_cancelled() => {
                vec!["interrupted; nothing of it has a name".to_owned()]
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
) -> Result<ImportedFile, ImportError> {
    let input = Input::named(file)?;
    let size = std::fs::metadata(&input.path)?.len();
    let meter = Meter::default();
    let importing = Shown {
        doing: format!(
            "importing {}",
            Path::new(file.file_name().unwrap_or_default()).display()
        ),
        bytes: Some((&meter, size)),
    };
    let work = importer.archive(&input.path, &meter, stop);
    let mut imported = importing.during(work).await?;
    if unpack == UnpackWhen::Never {
        return Ok(imported);
    }
    for image in &imported.images.clone() {
        let name = image.names_to_show().next().unwrap_or_default();
        let unpacking = Shown {
            doing: format!("unpacking {name}"),
            bytes: None,
        };
        let work = importer.unpack(image, &mut imported);
        if stop
            .run_until_cancelled(unpacking.during(work))
            .await
            .is_none()
        {
            imported
                .problems
                .push("interrupted before all of it was unpacked".to_owned());
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
        file.display(),
        imported.unpacked,
        took.as_secs_f64()
    );
    text
}
