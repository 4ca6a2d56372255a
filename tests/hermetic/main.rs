//! The hermetic tier.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

mod archive_fixtures;
mod archive_read_compression;
mod archive_read_damage;
mod archive_read_limits;
mod archive_read_page_cache;
mod archive_read_support;
mod archive_read_tar;
mod baked_file;
mod bench_figures;
mod config;
mod config_documents;
mod credentials;
mod documents;
mod events;
mod fixture_directories;
mod http;
mod image_list;
mod images_dir;
mod importer;
mod importer_names;
mod importer_space;
mod importer_verify;
mod inspect;
mod intake;
mod layers;
mod ledger;
mod ledger_audit;
mod ledger_file;
mod ledger_json;
mod logging;
#[allow(unreachable_pub)]
#[path = "../support/markdown.rs"]
mod markdown;
mod memory_store;
mod messages;
mod metrics;
mod naming;
mod naming_names;
mod notify;
mod packaging;
mod plan;
mod plan_on_board;
mod plan_scrub;
mod plan_store;
mod plan_unpack;
mod plan_warnings;
mod platform;
mod private_mounts;
// A part of what it tells is for other tiers.
#[allow(dead_code, unreachable_pub)]
#[path = "../support/process.rs"]
mod process;
mod puller;
mod puller_repair;
mod resolve;
mod scan;
mod service;
mod status;
mod supervisor;
mod terminal;
