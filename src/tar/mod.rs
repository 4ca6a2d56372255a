//! Reads the bytes of image archives: tar files, plain or compressed, each in its own way.
//!
//! ```text
//! plain       a.tar      index()  headers and documents read, bodies passed over ─┐
//!                                                                        Catalogue
//!                        body()   a body the store lacks, read at its place ◄─────┘
//!
//! compressed  a.tar.zst  stream() one pass: decode ═► tar ─┬─► body, body, body … ─► BodySink
//!                                                          └─► Catalogue, at the end
//!                        (═► from one thread to another)
//! ```
//!
//! A compressed archive cannot be read twice without the work of decoding it twice, and whether a
//! body is a layer that is wanted is known only when the index has been seen, which may come last.
//! So every body is handed on as it comes; small JSON documents are kept, bodies are not. Nothing
//! is unpacked to disk, no path of an archive touches the file system, and memory is bounded by
//! [`limits`]. An archive that was cut inside a member, or whose compressed stream is not whole, never
//! yields a catalogue. The catalogue of one that ends behind a member, without its end marker, says so.
//!
//! What the members mean is `layout`'s concern. Everything here blocks: call it from a thread that
//! may.

mod archive_file;
mod body;
mod catalogue_builder;
mod compressed;
mod decode_error;
mod decoder;
mod diff_id;
mod drop_behind;
mod error;
mod expansion;
mod file_bytes;
mod gzip;
mod header;
pub mod limits;
mod lz4_frames;
mod member_name;
mod open;
mod plain;
mod read_ahead;
mod reader;
mod source;
mod sparse;

pub use body::MemberBody;
pub use compressed::{BodySink, CompressedArchive};
pub use decode_error::DecodeError;
pub use error::{ArchiveError, FirstBytes};
pub use header::HeaderError;
pub use member_name::MemberName;
pub use open::{OpenArchive, open};
pub use plain::PlainArchive;
