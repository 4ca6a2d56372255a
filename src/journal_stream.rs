//! `JOURNAL_STREAM`: what systemd says of where stderr leads (systemd.exec(5)).

use std::ffi::OsStr;

/// Whether the variable's value, the device and the inode of the stream to the journal, means this
/// file. A process that was started by one that logs to the journal has the variable too, but
/// another stderr.
pub(crate) fn names(journal_stream: &OsStr, device: u64, inode: u64) -> bool {
    journal_stream
        .to_str()
        .and_then(|value| value.split_once(':'))
        .is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_device_and_inode() {
        assert!(names(OsStr::new("8:4711"), 8, 4711));
        for other in [
            "", "8", ":", "8:", ":4711", "8:4712", "9:4711", "8:4711:1", "x:y",
        ] {
            assert!(!names(OsStr::new(other), 8, 4711), "{other:?}");
        }
    }
}
