//! The containerd tier.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod archives;
mod attached;
mod bad;
mod baked;
mod by_hand;
mod cases;
mod child;
mod churn;
mod content;
mod crictl;
mod damage;
mod deletions;
mod disk;
mod doctor;
mod failures;
mod follow;
mod harness;
mod hung;
mod images;
mod instances;
mod kept_blobs;
mod killed;
mod leases;
mod lists;
mod lost_blobs;
mod made;
mod makers;
mod metrics;
mod names;
mod owners;
mod placement;
mod platforms;
mod pods;
mod raw;
mod ready;
mod registries;
mod restart;
mod sandbox;
mod scrub;
mod serving;
mod shadowed;
mod sight;
mod status;
mod unpack;
mod unpack_again;
mod unpack_hostile;
mod unpack_layers;
mod wear;
