//! stowd stows container images into containerd before the node says it is ready, and keeps them
//! there.
//!
//! It runs containerd as its child, or attaches to one; finds the image archives in the images
//! directory; imports what the store lacks of them; tells systemd READY when the last of them has
//! an outcome; and ends containerd when it is ended.
//!
//! Values flow one way:
//!
//! ```text
//!   config -> supervisor (containerd serves) -> images_dir (whole files, removals: events)
//!          -> plan (pure: events in, effects out) <-> intake (the shell that carries effects out)
//!          -> importer (tar: bytes to a catalogue -> layout: catalogue to images) | puller
//!          -> admit (names, labels, pins) -> image_store / containerd <- unpacker
//!          -> happened (values: what happened) -> reporter, ledger, progress, status, metrics, notify
//! ```
//!
//! and modules look one way only, in no circle, which a test holds against their `use` lines:
//!
//! ```text
//!   L4  main, cli, commands      words of the command line
//!   L3  service                  the daemon: joins all of the below, decides nothing
//!   L3  doctor                   looks at what would keep stowd or pods from working
//!   L3  operator                 imports and removes by hand, beside the daemon
//!   L2  intake                   the shell of the plan: begins imports and pulls
//!   L2  importer, puller,        see archives and the store as a trait, never containerd
//!   L2  unpacker
//!   L2  admit                    the one way in for an image, for importer and puller
//!   L1  allocator, containerd, entry_file, http, supervisor, images_dir, ledger_file, notify,
//!   L1  logging, shutdown, state_dir, status_file, tar  one outside thing each; none sees another
//!   L0  blocking, keyed_lock     join tasks and keep them apart, for every layer
//!   L0  process_identity         tells a process from a later one of its pid, for every layer
//!   L0  reporter                 writes what happened to the log, for every layer
//!   L0  concurrency              the budget: what is done at once
//!   L0  compression, config, credentials, digest, entry, happened, image_list, image_store,
//!   L0  journal_stream, layout, ledger, metrics, naming, needed_blob, oci, one_line, pin, plan,
//!   L0  platform, progress, retry, scrub, source_event, source_labels, status, told,
//!   L0  unpack                   pure: values and decisions
//! ```

// L0
pub(crate) mod blocking;
pub mod compression;
pub(crate) mod concurrency;
pub mod config;
pub mod credentials;
pub mod digest;
pub mod entry;
pub mod happened;
pub mod image_list;
pub mod image_store;
pub(crate) mod journal_stream;
pub(crate) mod keyed_lock;
pub mod layout;
pub mod ledger;
pub mod metrics;
pub mod naming;
pub mod needed_blob;
pub mod oci;
pub(crate) mod one_line;
pub mod pin;
pub mod plan;
pub mod platform;
pub mod process_identity;
pub mod progress;
pub mod reporter;
pub mod retry;
pub mod scrub;
pub mod source_event;
pub mod source_labels;
pub mod status;
pub mod told;
pub mod unpack;
// L1
pub mod allocator;
pub mod containerd;
pub(crate) mod entry_file;
pub mod http;
pub mod images_dir;
pub mod ledger_file;
pub mod logging;
pub mod notify;
pub mod shutdown;
pub mod state_dir;
pub mod status_file;
pub mod supervisor;
pub mod tar;
// L2
pub(crate) mod admit;
pub mod importer;
pub mod intake;
pub mod puller;
pub(crate) mod unpacker;
// L3
pub mod doctor;
pub mod operator;
pub mod service;
// L4
pub mod cli;
pub mod commands;
