//! What an extra registry must look like: `host[:port][/path]`, as it stands before the rest of an
//! image's name (the reference grammar of github.com/distribution/reference).

/// Says what is wrong with it, and the fix.
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
    if !is_host(host) {
        return wrong("does not begin with the name of a host; expected host[:port][/path]");
    }
    if !port.is_none_or(is_port) {
        return wrong("has no port after its ':'; expected host[:port][/path]");
    }
    if port.is_none() && host != "localhost" && !host.contains(['.', '[']) {
        return wrong(
            "would be taken for a path on docker.io: a host has a dot or a port, \
             as in registry.example or registry:5000",
        );
    }
    match path.and_then(|path| path.split('/').find(|part| !is_path_part(part))) {
        Some(part) if part.contains(':') => wrong("has a tag; expected host[:port][/path]"),
        Some(part) => wrong(&format!(
            "has {part:?} in its path: small letters and digits, with '.', '_', '__' or '-' \
             between them"
        )),
        None => Ok(()),
    }
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].split_once(':') {
        Some((_, port)) => (&authority[..authority.len() - port.len() - 1], Some(port)),
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    // The longest name in the DNS.
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Runs of small letters and digits; between two of them one '.', one or two '_', or any '-'.
fn is_path_part(part: &str) -> bool {
    let in_run = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    let mut after_run = false;
    for letter in part.chars() {
        if u8::try_from(letter).is_ok_and(in_run) {
            let joins = match separator.as_str() {
                "" | "." | "_" | "__" => true,
                dashes => dashes.chars().all(|dash| dash == '-'),
            };
            if !joins || (!separator.is_empty() && !after_run) {
                return false;
            }
            separator.clear();
            after_run = true;
        } else {
            separator.push(letter);
        }
    }
    after_run && separator.is_empty()
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
