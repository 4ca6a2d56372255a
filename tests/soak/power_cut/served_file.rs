//! A file whose reads and writes the test answers itself, over `/dev/fuse` (fuse(4) and
//! `linux/fuse.h`). The root of such a file system may be a regular file: then it is the only one, and
//! no name is ever looked up.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::io::Errno;

/// What a served file does.
pub(super) trait Served: Send + 'static {
    fn size(&self) -> u64;
    fn read(&mut self, offset: u64, length: usize) -> Vec<u8>;
    fn write(&mut self, offset: u64, bytes: &[u8]);
    fn zero(&mut self, offset: u64, length: u64);
    /// All that was written before is to be on the medium when this returns.
    fn flush(&mut self);
}

/// Mounts the file over the one at `path`, which must be there. A thread serves it until it is
/// unmounted.
pub(super) fn serve(path: &Path, mut served: impl Served) {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    let mut device = device.expect("/dev/fuse");
    // mount(8) hands its own standard input to the kernel.
    let status = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o"])
        .arg("fd=0,rootmode=100000,user_id=0,group_id=0,max_read=1048576")
        .arg("power-cut")
        .arg(path)
        .stdin(Stdio::from(device.try_clone().expect("a second handle")))
        .status();
    assert!(status.expect("mount runs").success());
    thread::spawn(move || {
        let mut request = vec![0; LONGEST_WRITE + 4096];
        loop {
            match device.read(&mut request) {
                Ok(length) => {
                    if let Some(reply) = answer(&request[..length], &mut served) {
                        // The asker may have been interrupted, or the file unmounted.
                        let _ = device.write(&reply);
                    }
                }
                // ENOENT: a request was interrupted before it was read.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Interrupted) => {}
                // ENODEV: it is unmounted.
                Err(_) => return,
            }
        }
    });
}

const LONGEST_WRITE: usize = 1 << 20;

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;

/// Reads and writes go past the page cache, so that the server sees each in its turn.
const FOPEN_DIRECT_IO: u32 = 1;
const FUSE_BIG_WRITES: u32 = 1 << 5;
const FUSE_MAX_PAGES: u32 = 1 << 22;

fn answer(request: &[u8], served: &mut impl Served) -> Option<Vec<u8>> {
    let operation = number(request, 4);
    let body = &request[40..];
    let mut reply = Reply::to(request);
    match operation {
        // They want no answer.
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        INIT => {
            // Version 7.31; no read-ahead; then the flags.
            reply.numbers(&[7, 31, 0, FUSE_BIG_WRITES | FUSE_MAX_PAGES]);
            // Background requests: at most 16, congested from 12 on.
            reply.numbers(&[16 | 12 << 16, LONGEST_WRITE as u32, 1, 256]);
            reply.numbers(&[0; 8]);
        }
        GETATTR | SETATTR => {
            // Nothing but this server changes it, so it may be remembered.
            reply.long(3600).long(0).long(1).long(served.size());
            reply.long(served.size() / 512).long(0).long(0).long(0);
            let (mode, links, block) = (0o100_600, 1, 4096);
            reply.numbers(&[0, 0, 0, mode, links, 0, 0, 0, block, 0]);
        }
        OPEN => {
            reply.long(0).numbers(&[FOPEN_DIRECT_IO, 0]);
        }
        READ => {
            let length = number(body, 16) as usize;
            reply.0.extend(served.read(long(body, 8), length));
        }
        WRITE => {
            let length = number(body, 16);
            served.write(long(body, 8), &body[40..][..length as usize]);
            reply.numbers(&[length, 0]);
        }
        // The kernel passes on the making of holes and of zeros, which read the same.
        FALLOCATE => served.zero(long(body, 8), long(body, 16)),
        FSYNC => served.flush(),
        FLUSH | RELEASE => {}
        _ => reply.fail(Errno::NOSYS),
    }
    Some(reply.end())
}

/// Numbers are in the byte order of the machine.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..][..4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..][..8].try_into().expect("8 bytes"))
}

/// An answer: its length, an error, the number of the request, and then what was asked for.
struct Reply(Vec<u8>);

impl Reply {
    fn to(request: &[u8]) -> Self {
        let mut reply = Self(vec![0; 8]);
        reply.0.extend(&request[8..16]);
        reply
    }

    fn numbers(&mut self, numbers: &[u32]) -> &mut Self {
        self.0
            .extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        self
    }

    fn long(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn fail(&mut self, error: Errno) {
        self.0[4..8].copy_from_slice(&(-error.raw_os_error()).to_ne_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}
