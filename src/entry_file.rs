//! The file of an entry, which counts only in the version that the entry names. It is looked at and read on
//! threads that may wait.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use crate::blocking::blocking;
use crate::digest::{Digest, Hasher};
use crate::entry::{Entry, Identity};
use crate::progress::Meter;

/// The length of each end of a file that its sample is made of.
const ENDS: usize = 64 << 10;

/// How many pieces between them, and how long each is.
const SPOTS: u32 = 16;
const SPOT: usize = 4 << 10;

/// Whether a look at a file tells this version.
///
/// # Errors
/// Those of the look.
pub(crate) async fn is_version(
    version: Identity,
    meter: &Meter,
    look: impl FnOnce() -> io::Result<Metadata> + Send + 'static,
) -> io::Result<bool> {
    let meter = meter.clone();
    let metadata = blocking(move || meter.calling(look)).await?;
    Ok(Identity::of(&metadata) == version)
}

/// Whether the path still leads to the version of the file that `entry` names.
///
/// # Errors
/// There is something at the path, which cannot be looked at.
pub(crate) async fn is_still(entry: &Entry, meter: &Meter) -> io::Result<bool> {
    let path = entry.path.clone();
    let looked = is_version(entry.identity, meter, || fs::metadata(path));
    let looked = if_there(looked.await)?;
    Ok(looked.unwrap_or_default())
}

/// The bytes of the file, or one more than `most`, so that the excess is noticed. `None`: the path leads to
/// another version, or nowhere.
///
/// # Errors
/// There is something at the path, which cannot be read.
pub(crate) async fn read(entry: &Entry, most: u64, meter: &Meter) -> io::Result<Option<Vec<u8>>> {
    let (path, meter) = (entry.path.clone(), meter.clone());
    let read = move || {
        let (file, mut bytes) = (File::open(path)?, Vec::new());
        (&file).take(most + 1).read_to_end(&mut bytes)?;
        // After the bytes: a write meanwhile makes another version of the file.
        Ok::<_, io::Error>((bytes, Identity::of(&file.metadata()?)))
    };
    let read = if_there(blocking(move || meter.calling(read)).await)?;
    let read = read.filter(|(_, identity)| *identity == entry.identity);
    Ok(read.map(|(bytes, _)| bytes))
}

/// The sample of the file: the SHA-256 of its length, of its first and last [`ENDS`] bytes, and of [`SPOTS`]
/// pieces of [`SPOT`] bytes between them, at equal distances. `None`: the path leads to another version, or
/// nowhere.
///
/// It is for files of one length and one mtime, which may be the same for two builds of an archive (1970, where
/// builds are reproducible). What tells those apart is at the ends: a compressed file ends with a checksum of
/// all of it, and in a plain one the index or the manifest, with the digest of what it leads to, is the first
/// or the last member. The pieces between find what was changed by a block that went wrong in a copy with good
/// chance, and no more. Where a sample is wrongly the same, what was imported before stays.
///
/// # Errors
/// There is something at the path, which cannot be read.
pub(crate) async fn sample(entry: &Entry, meter: &Meter) -> io::Result<Option<Digest>> {
    let (path, meter) = (entry.path.clone(), meter.clone());
    let read = move || {
        let file = File::open(path)?;
        let identity = Identity::of(&file.metadata()?);
        let mut hasher = Hasher::default();
        hasher.update(&identity.size.to_le_bytes());
        for (offset, length) in sampled(identity.size) {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            hasher.update(&bytes);
        }
        // After the bytes: a write meanwhile makes another version of the file.
        Ok::<_, io::Error>((hasher.finish(), Identity::of(&file.metadata()?)))
    };
    let read = if_there(blocking(move || meter.calling(read)).await)?;
    let read = read.filter(|(_, identity)| *identity == entry.identity);
    Ok(read.map(|(sample, _)| sample))
}

/// The parts of a file of this length that its sample is made of: the offset and the length of each.
fn sampled(size: u64) -> Vec<(u64, usize)> {
    let whole = u64::from(SPOTS) * SPOT as u64 + 2 * ENDS as u64;
    if size <= whole {
        return vec![(0, usize::try_from(size).unwrap_or_default())];
    }
    let between = size - 2 * ENDS as u64;
    let step = between / (u64::from(SPOTS) + 1);
    let spots = (1..=u64::from(SPOTS)).map(|spot| (ENDS as u64 + spot * step, SPOT));
    let (first, last) = ((0, ENDS), (size - ENDS as u64, ENDS));
    std::iter::once(first).chain(spots).chain([last]).collect()
}

/// `None` where there is nothing at the path.
fn if_there<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
        Ok(value) => Ok(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    async fn sample_of(path: &std::path::Path, bytes: &[u8]) -> Digest {
        fs::write(path, bytes).unwrap();
        let entry = Entry {
            path: path.to_owned(),
            kind: Kind::Archive,
            identity: Identity::of(&fs::metadata(path).unwrap()),
        };
        let sampled = sample(&entry, &Meter::default()).await.unwrap();
        sampled.unwrap()
    }

    #[tokio::test]
    async fn a_sample_tells_files_of_one_length_apart_by_their_ends_and_by_pieces_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let long = vec![7; 10 << 20];
        let same = sample_of(&path, &long).await;
        assert_eq!(sample_of(&path, &long).await, same);
        let step = (long.len() - 2 * ENDS) / 17;
        let ends = [0, ENDS - 1, long.len() - ENDS, long.len() - 1];
        for changed in [ENDS + step, ENDS + 16 * step].into_iter().chain(ends) {
            let mut other = long.clone();
            other[changed] = 8;
            assert_ne!(sample_of(&path, &other).await, same, "{changed}");
        }
        for length in [0, 1, ENDS, 2 * ENDS, 192 << 10, (192 << 10) + 1] {
            let short = vec![7; length];
            let same = sample_of(&path, &short).await;
            assert_ne!(sample_of(&path, &[&short[..], &[7]].concat()).await, same);
            if length > 0 && length <= 192 << 10 {
                let mut other = short.clone();
                other[length / 2] = 8;
                assert_ne!(sample_of(&path, &other).await, same, "{length}: all of it");
            }
        }
    }

    #[tokio::test]
    async fn a_sample_of_another_version_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        fs::write(&path, "abc").unwrap();
        let entry = Entry {
            identity: Identity::of(&fs::metadata(&path).unwrap()),
            kind: Kind::Archive,
            path,
        };
        fs::write(&entry.path, "longer").unwrap();
        assert_eq!(sample(&entry, &Meter::default()).await.unwrap(), None);
        fs::remove_file(&entry.path).unwrap();
        assert_eq!(sample(&entry, &Meter::default()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn it_counts_in_the_version_that_the_entry_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "abc").unwrap();
        let identity = Identity::of(&fs::metadata(&path).unwrap());
        let entry = |path| Entry {
            path,
            kind: Kind::List,
            identity,
        };
        let meter = Meter::default();
        let there = entry(path.clone());
        assert!(is_still(&there, &meter).await.unwrap());
        for (most, expected) in [(3, "abc"), (1, "ab")] {
            let bytes = read(&there, most, &meter).await.unwrap();
            assert_eq!(bytes.as_deref(), Some(expected.as_bytes()));
        }
        fs::write(&path, "longer").unwrap();
        for gone in [
            there,
            entry(dir.path().join("b.txt")),
            entry(path.join("c.txt")),
        ] {
            assert!(!is_still(&gone, &meter).await.unwrap());
            assert_eq!(read(&gone, 3, &meter).await.unwrap(), None);
        }
    }
}
