//! `metrics.listen`: an IP address with a port, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Longest path of a Unix socket: `sun_path` in unix(7) has 108 bytes, one of them the closing NUL.
pub(super) const SOCKET_PATH: usize = 107;

/// What stands before the path of a socket.
const UNIX: &str = "unix:";

/// Where something is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddress {
    /// Reads `127.0.0.1:9477`, `[::1]:9477` or `unix:/run/stowd/metrics.sock`. Names of hosts are not
    /// looked up: at a boot there may be no resolver yet.
    ///
    /// # Errors
    /// What is wrong, and the fix.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{text:?} {what}"));
        if let Some(path) = text.strip_prefix(UNIX) {
            let plain = path.strip_prefix("//").filter(|path| path.starts_with('/'));
            return match Path::new(path) {
                _ if plain.is_some() => {
                    let plain = format!("{UNIX}{}", plain.unwrap_or_default());
                    wrong(&format!("is a URL; write {plain:?}"))
                }
                path if path.as_os_str().as_bytes().contains(&0) => wrong("has a NUL in it"),
                path if !path.is_absolute() => {
                    wrong("has no absolute path; expected such as \"unix:/run/stowd/metrics.sock\"")
                }
                path if path.as_os_str().len() > SOCKET_PATH => wrong(&format!(
                    "has a path of {} bytes; that of a socket has at most {SOCKET_PATH}",
                    path.as_os_str().len()
                )),
                path => Ok(Self::Unix(path.to_owned())),
            };
        }
        if text.starts_with('/') {
            return wrong(&format!(
                "is a path; for a socket write {:?}",
                UNIX.to_owned() + text
            ));
        }
        if let Some((_, rest)) = text.split_once("://") {
            let plain = rest.split('/').next().unwrap_or(rest);
            return wrong(&format!("is a URL; write the address alone: {plain:?}"));
        }
        if let Some(port) = text.strip_prefix(':')
            && port.parse::<u16>().is_ok()
        {
            return wrong(&format!(
                "has no address; write \"127.0.0.1:{port}\" for this machine alone, \"[::]:{port}\" for \
                 all addresses"
            ));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => wrong("has port 0; choose one, such as 9477"),
            Ok(address) => Ok(Self::Tcp(address)),
            Err(_) => wrong(
                "is no address; expected an IP address with a port such as \"127.0.0.1:9477\", or \
                 \"unix:/run/stowd/metrics.sock\"",
            ),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sockets_are_read_and_written_alike() {
        for text in [
            "127.0.0.1:9477",
            "0.0.0.0:80",
            "[::1]:9477",
            "[::]:9477",
            "unix:/run/stowd/metrics.sock",
        ] {
            let address = ListenAddress::parse(text);
            assert_eq!(
                address.map(|address| address.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, part) in [
            (":9477", "write \"127.0.0.1:9477\""),
            ("9477", "is no address"),
            ("localhost:9477", "an IP address with a port"),
            ("127.0.0.1", "is no address"),
            ("127.0.0.1:0", "port 0"),
            ("127.0.0.1:70000", "is no address"),
            ("::1:9477:", "is no address"),
            (
                "http://127.0.0.1:9477/metrics",
                "write the address alone: \"127.0.0.1:9477\"",
            ),
            (
                "/run/stowd/metrics.sock",
                "write \"unix:/run/stowd/metrics.sock\"",
            ),
            (
                "unix:///run/metrics.sock",
                "write \"unix:/run/metrics.sock\"",
            ),
            ("unix:metrics.sock", "no absolute path"),
            ("unix:", "no absolute path"),
            (&long, "at most 107"),
            ("unix:/a\0b", "NUL"),
            (" 127.0.0.1:9477", "is no address"),
        ] {
            let said = ListenAddress::parse(text).unwrap_err();
            assert!(said.contains(part), "{text:?}: {said}");
        }
    }
}
