//! The stowd daemon.

fn main() {}
