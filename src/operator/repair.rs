//! Brings back what is damaged from where it came, as the daemon does.

use std::io::ErrorKind;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::config::Config;
use crate::entry::{Entry, Identity, Kind, Verdict};
use crate::image_store::ImageStore;
use crate::importer::{ImportRules, Reservations, import};
use crate::plan::Brings;
use crate::platform::{Platform, Wanted};
use crate::progress::Meter;
use crate::puller::{PullRules, Puller};
use crate::told::Told;
use crate::unpack::UnpackWhen;

use super::unpacking::unpack;
use super::verify::Damage;

/// Imports an archive again, or pulls a list again, where names, pins or blobs are damaged, and unpacks its
/// images, of which `brings` tells. Of what no entry brings the snapshots alone can be made again.
/// Returns why something could not be brought back, a line each.
pub async fn repair<S: ImageStore>(
    store: &S,
    config: &Config,
    damage: &Damage,
    brings: &Brings,
    meter: &Meter,
) -> Vec<String> {
    let mut problems = Vec::new();
    if !damage.content.is_empty() {
        let again = match &damage.entry {
            Some(path) => bring_again(store, config, path, brings, meter).await,
            None => Ok(damage
                .content
                .iter()
                .map(|line| format!("{line}: no entry brings it: import its archive again"))
                .collect()),
        };
        problems = again.unwrap_or_else(|error| vec![error]);
    }
    if config.images.unpack == UnpackWhen::Never {
        return problems;
    }
    for image in brings.known.iter().chain(&damage.not_unpacked) {
        problems.extend(unpack(store, image).await.err());
    }
    problems
}

async fn bring_again<S: ImageStore>(
    store: &S,
    config: &Config,
    path: &Path,
    brings: &Brings,
    meter: &Meter,
) -> Result<Vec<String>, String> {
    let entry = entry_at(path).await?;
    let stop = CancellationToken::new();
    match entry.kind {
        Kind::Archive => {
            let wanted = Wanted::from_config(&config.images.platforms, Platform::host());
            let rules = ImportRules {
                reservations: &Reservations::default(),
                told: &Told::default(),
                wanted: &wanted.map_err(|error| error.to_string())?,
                extra_registries: &config.images.extra_registries,
                later: &brings.later,
            };
            let imported = import(store, &entry, rules, meter.clone(), &stop).await;
            imported
                .map(|report| report.problems)
                .map_err(|error| error.to_string())
        }
        Kind::List => {
            let puller = Puller::new(store.clone(), PullRules::of(config));
            let work = async {
                let looked = puller.look(&entry, &brings.known, meter).await?;
                puller
                    .pull(&entry, &brings.known, looked, meter, &stop)
                    .await
            };
            work.await
                .map(|pulled| pulled.problems)
                .map_err(|error| error.to_string())
        }
    }
}

async fn entry_at(path: &Path) -> Result<Entry, String> {
    let Verdict::Entry(kind) = Verdict::on(path.file_name().unwrap_or_default()) else {
        return Err("it is no entry any more".to_owned());
    };
    let looked = path.to_owned();
    let metadata = blocking(move || std::fs::metadata(looked)).await;
    let metadata = metadata.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "its file is gone: put it back, or import it (stowd import FILE)".to_owned()
        }
        _ => format!("cannot be looked at: {error}"),
    })?;
    Ok(Entry {
        path: path.to_owned(),
        kind,
        identity: Identity::of(&metadata),
    })
}
