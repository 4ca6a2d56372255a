//! What an extra registry must look like: `host[:port][/path]`, as it stands before the rest of an
//! image's name.

use crate::naming::grammar::{LOCALHOST, host_and_port, is_host, is_path_component};

/// The error says what is wrong, and the fix.
pub(super) fn check(registry: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{registry:?} {what}"));
    if let Some((_, plain)) = registry.split_once("://") {
        let plain = plain.trim_end_matches('/');
        return wrong(&format!("has a scheme; write {plain:?}"));
    }
    if registry.ends_with('/') {
        let plain = registry.trim_end_matches('/');
        return wrong(&format!("ends with a slash; write {plain:?}"));
    }
    if registry.contains('@') {
        return wrong("has an '@'; neither a user nor a digest belongs there");
    }
    let (authority, path) = match registry.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (registry, None),
    };
    let (host, port) = host_and_port(authority);
    if !(is_host(host) && is_address(host)) {
        return wrong("does not begin with the name of a host; expected host[:port][/path]");
    }
    if !port.is_none_or(is_port) {
        return wrong("has no port after its ':'; expected host[:port][/path]");
    }
    if port.is_none() && host != LOCALHOST && !host.contains(['.', '[']) {
        return wrong(
            "would be taken for a path on docker.io: a host has a dot or a port, \
             as in registry.example or registry:5000",
        );
    }
    match path.and_then(|path| path.split('/').find(|part| !is_path_component(part))) {
        Some(part) if part.contains(':') => wrong("has a tag; expected host[:port][/path]"),
        Some(part) => wrong(&format!(
            "has {part:?} in its path: small letters and digits, with '.', '_', '__' or '-' \
             between them"
        )),
        None => Ok(()),
    }
}

/// Stricter than the grammar of references, which knows no addresses and takes any digits for a port:
/// what is wrong here would show at the first pull from there.
fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => true,
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_as_people_have_them_are_fine() {
        for good in [
            "registry.example.com",
            "registry.example.com:5000",
            "registry:5000",
            "localhost",
            "127.0.0.1:5000",
            "[::1]:5000",
            "[fd00::1]",
            "REGISTRY.example",
            "harbor.example/proxy/docker_io__mirror-1",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (bad, part) in [
            ("", "does not begin with the name of a host"),
            ("https://registry.example/", "write \"registry.example\""),
            ("registry.example/", "write \"registry.example\""),
            ("registry.example/a//b", "has \"\" in its path"),
            ("registry", "docker.io"),
            ("library/x", "docker.io"),
            ("registry.example:port", "no port"),
            ("registry.example:0", "no port"),
            ("registry.example:99999", "no port"),
            ("registry.example:", "no port"),
            ("registry.example:+80", "no port"),
            ("registry.example/a:v1", "has a tag"),
            ("user@registry.example", "'@'"),
            ("-x.example", "name of a host"),
            ("a..example", "name of a host"),
            ("[::g]:1", "name of a host"),
            ("reg istry.example", "name of a host"),
            ("registry.example/Upper", "\"Upper\""),
            ("registry.example/a___b", "\"a___b\""),
            ("registry.example/a._b", "\"a._b\""),
            ("registry.example/-a", "\"-a\""),
            (&format!("{}.example", "x".repeat(246)), "name of a host"),
            ("registry.example/a-", "\"a-\""),
            ("registry.example/\u{e9}", "\"\u{e9}\""),
        ] {
            let said = check(bad).unwrap_err();
            assert!(said.contains(part), "{bad}: {said}");
        }
    }
}
