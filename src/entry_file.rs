//! The file of an entry, which counts only in the version that the entry names. It is looked at and read on
//! threads that may wait.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};

use crate::blocking::blocking;
use crate::entry::{Entry, Identity};
use crate::progress::Meter;

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
