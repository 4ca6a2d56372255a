//! The UUID of a file system, as the kernel tells it since Linux 6.9 (`FS_IOC_GETFSUUID`).
//!
//! This is one of four places with `unsafe`: rustix has no wrapper of this call.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// `struct fsuuid2` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct FsUuid {
    length: u8,
    bytes: [u8; 16],
}

const GET: Opcode = opcode::read::<FsUuid>(0x15, 0);

/// The UUID, in hexadecimal. `None` where there is none, it is all zeros, or the kernel does not tell it.
pub(super) fn fs_uuid(directory: BorrowedFd<'_>) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(directory, ".", flags, Mode::empty()).ok()?;
    let mut uuid = FsUuid::default();
    // SAFETY: the call writes a `struct fsuuid2`, which this one is, and reads nothing.
    unsafe { ioctl(&opened, Updater::<GET, FsUuid>::new(&mut uuid)) }.ok()?;
    let bytes = uuid.bytes.get(..usize::from(uuid.length))?;
    let is_told = bytes.iter().any(|byte| *byte != 0);
    is_told.then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
