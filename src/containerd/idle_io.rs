//! Work on the disk that waits for all other work on it (ioprio_set(2)).
//!
//! This is one of four places with `unsafe`: neither std nor rustix has a wrapper of this call.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long};

/// Of `linux/ioprio.h`.
const WHO_PROCESS: c_int = 1;
const CLASS_SHIFT: c_int = 13;
const CLASS_NONE: c_int = 0;
const CLASS_IDLE: c_int = 3;

/// Until it is dropped, what its thread reads and writes has idle priority, where the disk's scheduler
/// knows one (bfq, mq-deadline).
pub(super) struct IdleIo(());

impl IdleIo {
    pub(super) fn begin() -> Self {
        set_class(CLASS_IDLE);
        Self(())
    }
}

impl Drop for IdleIo {
    fn drop(&mut self) {
        set_class(CLASS_NONE);
    }
}

/// Of the thread that calls. Where the kernel refuses it, the work is done with the usual priority.
fn set_class(class: c_int) {
    let this_thread = 0;
    // SAFETY: the call takes three numbers, and reads and writes no memory of the process.
    let _: c_long = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            this_thread,
            class << CLASS_SHIFT,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class() -> c_long {
        // SAFETY: the call takes two numbers, and reads and writes no memory of the process.
        let priority = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
        assert!(priority >= 0);
        priority >> CLASS_SHIFT
    }

    #[test]
    fn the_thread_is_idle_until_it_is_dropped() {
        std::thread::spawn(|| {
            let before = class();
            let idle = IdleIo::begin();
            assert_eq!(class(), c_long::from(CLASS_IDLE));
            drop(idle);
            assert_eq!(class(), before);
        })
        .join()
        .unwrap();
    }
}
