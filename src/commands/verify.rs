//! `stowd verify`: reads every blob of the images that stowd keeps, and repairs what is damaged.

use std::io;
use std::time::Instant;

use bytesize::ByteSize;

use crate::config::Config;
use crate::entry::shown;
use crate::image_store::StoreError;
use crate::operator::{Damage, NotConnected, NotVerified, Verification, connect, repair};
use crate::pin::PinOwner;
use crate::plan::Brings;
use crate::progress::{Meter, counted};

use super::progress_bar::WorkShown;

/// Why nothing, or not all, was verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Connection(#[from] NotConnected),
    #[error(transparent)]
    Verification(#[from] NotVerified),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Verifies the images of these names, or all of them, and with `repairs` brings back what is damaged.
/// `say` gets what was read and what was repaired, `complain` what is wrong. Returns whether all is well in
/// the end.
pub fn verify(
    config: &Config,
    names: &[String],
    repairs: bool,
    say: impl FnMut(&str),
    complain: impl FnMut(&str),
) -> Result<bool, VerifyError> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(verify_all(config, names, repairs, say, complain))
}

async fn verify_all(
    config: &Config,
    names: &[String],
    repairs: bool,
    mut say: impl FnMut(&str),
    mut complain: impl FnMut(&str),
) -> Result<bool, VerifyError> {
    let began = Instant::now();
    let store = connect(config, PinOwner::of_instance(&config.instance)).await?;
    let verification = Verification::of(store.clone(), config, names).await?;
    for warning in &verification.warnings {
        complain(&format!("ledger not used in full: {warning}"));
    }
    let is_known = verification.warnings.is_empty();
    let blobs = verification.blobs();
    let (bytes, meter) = (blobs.iter().map(|blob| blob.size).sum(), Meter::default());
    let reading = WorkShown {
        doing: "verifying".to_owned(),
        bytes: Some((&meter, bytes)),
    };
    reading.during(verification.read(&blobs, &meter)).await?;
    let mut damage = verification.damage().await?;
    complain_of(&damage, &mut complain);
    say(&format!(
        "{}, {}, {} read in {:.1} s: {}\n",
        counted(verification.image_count(), "image", "images"),
        counted(blobs.len(), "blob", "blobs"),
        ByteSize::b(bytes).display().iec(),
        began.elapsed().as_secs_f64(),
        if damage.is_empty() {
            "whole"
        } else {
            "damaged"
        },
    ));
    if !repairs || damage.is_empty() {
        return Ok(is_known && damage.is_empty());
    }
    for one in &damage {
        let entry = one.entry.as_deref();
        let brings = entry.map_or_else(Brings::default, |entry| verification.brings(entry));
        let (source, meter) = (source(one), Meter::default());
        let repairing = WorkShown {
            doing: format!("repairing {source}"),
            bytes: None,
        };
        let repaired = repair(&store, config, one, &brings, &meter);
        let problems = repairing.during(repaired).await;
        if problems.is_empty() {
            say(&format!("brought back what was damaged: {source}\n"));
        }
        for problem in problems {
            complain(&format!("{source}: {problem}"));
        }
    }
    damage = verification.damage().await?;
    complain_of(&damage, &mut complain);
    Ok(is_known && damage.is_empty())
}

fn complain_of(damage: &[Damage], complain: &mut impl FnMut(&str)) {
    for one in damage {
        for line in one.lines() {
            complain(&format!("{}: {line}", source(one)));
        }
    }
}

/// What has brought it.
fn source(damage: &Damage) -> String {
    let entry = damage.entry.as_deref();
    entry.map_or("of no entry".to_owned(), shown)
}
