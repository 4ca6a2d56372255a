//! The parts of a reference, by the grammar of Go's `distribution/reference`: `host[:port]/path`.

/// The longest name in the DNS. Go's package knows no bound; but the store puts names into its
/// answers, and one that is longer than a header may be breaks the connection.
pub(crate) const HOST_MAX: usize = 253;

/// A registry, although it has no dot and no port.
pub(crate) const LOCALHOST: &str = "localhost";

/// Cuts at the colon before a port, and at none of an IPv6 address in brackets.
pub(crate) fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].split_once(':') {
        Some((_, port)) => (&authority[..authority.len() - port.len() - 1], Some(port)),
        None => (authority, None),
    }
}

/// A host name, an IPv4 address or an IPv6 address in brackets. As in Go's package, what is in
/// brackets need only be made of the characters of an address.
pub(crate) fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| {
            let is_inner = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
            !address.is_empty() && address.bytes().all(is_inner)
        }),
        None => host.len() <= HOST_MAX && host.split('.').all(is_host_label),
    }
}

fn is_host_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Runs of letters and digits, with one `.`, one or two `_` or any number of `-` between them.
pub(crate) fn is_path_component(component: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = component.bytes().peekable();
    loop {
        if bytes.next_if(|byte| is_letter(*byte)).is_none() {
            return false;
        }
        while bytes.next_if(|byte| is_letter(*byte)).is_some() {}
        match bytes.next() {
            None => return true,
            Some(b'.') => {}
            Some(b'_') => {
                bytes.next_if_eq(&b'_');
            }
            Some(b'-') => while bytes.next_if_eq(&b'-').is_some() {},
            Some(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_the_colons_of_an_address() {
        for (authority, host, port) in [
            ("registry.example", "registry.example", None),
            ("registry:5000", "registry", Some("5000")),
            ("registry:", "registry", Some("")),
            ("[::1]", "[::1]", None),
            ("[::1]:5000", "[::1]", Some("5000")),
            ("a:b:c", "a", Some("b:c")),
            ("", "", None),
        ] {
            assert_eq!(host_and_port(authority), (host, port));
        }
    }
}
