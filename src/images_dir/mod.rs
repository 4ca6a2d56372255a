//! Notices entries in the images directory.
