//! Which images a registry's key covers: the keys of `auths` and of `credHelpers`.

use crate::naming::Reference;
use crate::naming::grammar::host_and_port;

/// Docker's key for Docker Hub, and the hosts that it answers to beside `docker.io`.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";
const HUB_HOSTS: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// A registry, or a part of one. Keys are read as the kubelet reads them
/// (`pkg/credentialprovider/keyring.go`): `host[:port][/path]`, with or without a scheme and Docker's
/// `/v1/` or `/v2/`; `*` stands for a part of the host between two dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// In small letters, with its port.
    host: String,
    /// Without slashes at its ends; empty for the whole registry.
    path: String,
}

impl Scope {
    /// `None` for a key that no image can be under.
    pub(super) fn of(key: &str) -> Option<Self> {
        let rest = match key.split_once("://") {
            Some(("https" | "http", rest)) => rest,
            Some(_) => return None,
            None => key,
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut host = host.to_ascii_lowercase();
        if HUB_HOSTS.contains(&host.as_str()) {
            host = HUB.to_owned();
        }
        let path = path.trim_matches('/');
        let path = match path.split_once('/') {
            Some(("v1" | "v2", rest)) => rest,
            None if matches!(path, "v1" | "v2") => "",
            _ => path,
        };
        // What no name of an image begins with is no registry. A `*` is held for the letter that it
        // may stand for.
        let sample = host.replace('*', "x");
        let inside = if path.is_empty() { "x" } else { path };
        let name = Reference::parse(&format!("{sample}/{inside}")).ok()?;
        let bare = name.tag().is_none() && name.digest().is_none();
        (name.domain() == sample && bare).then(|| Self {
            host,
            path: path.to_owned(),
        })
    }

    /// Whether the image is in this registry and under this path.
    pub(super) fn covers(&self, image: &Reference) -> bool {
        let below = match image.path().strip_prefix(&self.path) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        below && is_host(&self.host, &image.domain().to_ascii_lowercase())
    }

    /// In ascending order, the first that covers an image is the one for it: a host in full before one
    /// with a `*`, then the longest path.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        (self.host.contains('*'), std::cmp::Reverse(self.path.len()))
    }

    /// Whether the key is the one that Docker looks for first.
    pub(super) fn is_usual(&self, key: &str) -> bool {
        match self.host.as_str() {
            HUB => key == HUB_KEY,
            _ => !key.contains("://"),
        }
    }
}

/// Part by part between the dots; ports are equal.
fn is_host(pattern: &str, host: &str) -> bool {
    let (pattern, pattern_port) = host_and_port(pattern);
    let (host, port) = host_and_port(host);
    let (patterns, parts) = (pattern.split('.'), host.split('.'));
    port == pattern_port
        && patterns.clone().count() == parts.clone().count()
        && patterns
            .zip(parts)
            .all(|(pattern, part)| fits(pattern, part))
}

/// `*` stands for any run of letters, also for none.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, mut pattern)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    // Each piece at its first place leaves the most for the next; the last must end the text.
    while let Some((piece, rest)) = pattern.split_once('*') {
        let Some((_, after)) = text.split_once(piece) else {
            return false;
        };
        (pattern, text) = (rest, after);
    }
    text.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(key: &str, image: &str) -> bool {
        let scope = Scope::of(key).unwrap_or_else(|| panic!("{key} is no scope"));
        scope.covers(&Reference::parse(image).unwrap())
    }

    #[test]
    fn a_registry_is_itself_in_every_form() {
        for key in [
            "registry.example",
            "Registry.Example",
            "registry.example/",
            "https://registry.example",
            "http://registry.example",
            "https://registry.example/",
            "https://registry.example/v1/",
            "https://registry.example/v2/",
            "https://registry.example/v2",
            "registry.example/v1/",
        ] {
            assert!(covers(key, "registry.example/app:1"), "{key}");
            assert!(covers(key, "REGISTRY.example/team/app"), "{key}");
            assert!(!covers(key, "registry.example:5000/app"), "{key}");
            assert!(!covers(key, "other.example/registry.example/app"), "{key}");
            assert!(!covers(key, "sub.registry.example/app"), "{key}");
            assert!(!covers(key, "app"), "{key}");
        }
        assert!(covers("registry:5000", "registry:5000/app"));
        assert!(!covers("registry:5000", "registry:5001/app"));
        assert!(covers("localhost", "localhost/app"));
        assert!(covers("[::1]:5000", "[::1]:5000/app"));
        assert!(!covers("[::1]:5000", "[::2]:5000/app"));
        assert!(!covers("[::1]", "[::1]:5000/app"));
    }

    #[test]
    fn docker_hub_has_many_names() {
        for key in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "https://registry-1.docker.io/v2/",
            "registry-1.docker.io",
        ] {
            for image in [
                "alpine",
                "grafana/grafana",
                "index.docker.io/library/alpine",
            ] {
                assert!(covers(key, image), "{key} {image}");
            }
            assert!(!covers(key, "quay.io/library/alpine"), "{key}");
        }
        assert!(covers("docker.io/grafana", "grafana/grafana:11"));
        assert!(!covers("docker.io/grafana", "alpine"));
        // Docker keeps its own tokens under such keys.
        assert!(!covers("https://index.docker.io/v1/access-token", "alpine"));
    }

    #[test]
    fn a_path_ends_with_a_part() {
        for (key, image, expected) in [
            ("r.example/team", "r.example/team/app", true),
            ("r.example/team/", "r.example/team/sub/app", true),
            ("r.example/team/app", "r.example/team/app:1", true),
            ("https://r.example/v2/team", "r.example/team/app", true),
            ("r.example/team", "r.example/teams/app", false),
            ("r.example/team", "r.example/team-b", false),
            ("r.example/team", "r.example/app", false),
            ("r.example/team/app", "r.example/team", false),
        ] {
            assert_eq!(covers(key, image), expected, "{key} {image}");
        }
    }

    #[test]
    fn a_star_is_a_part_of_a_host() {
        for (key, image, expected) in [
            ("*.example", "r.example/app", true),
            ("*.example", "a.r.example/app", false),
            ("*.example", "localhost/app", false),
            ("*.*.example", "a.r.example/app", true),
            ("*.*.example", "r.example/app", false),
            ("prefix.*.io", "prefix.kubernetes.io/app", true),
            ("*-good.example", "very-good.example/app", true),
            ("*-good.example", "very-bad.example/app", false),
            ("a*b*c.example", "a1b2bc.example/app", true),
            ("a*b*c.example", "a1c.example/app", false),
            ("*.example:5000", "r.example:5000/app", true),
            ("*.example:5000", "r.example/app", false),
            ("r.*", "r.example:5000/app", false),
            (
                "*.dkr.ecr.*.amazonaws.com/team",
                "1.dkr.ecr.eu-west-1.amazonaws.com/team/app",
                true,
            ),
        ] {
            assert_eq!(covers(key, image), expected, "{key} {image}");
        }
    }

    #[test]
    fn a_key_that_no_image_is_under_is_no_scope() {
        for key in [
            "",
            "/",
            "registry",
            "*",
            "oci://registry.example",
            "https://",
            "registry example",
            "registry.example/Team",
            "registry.example/app:1",
            "registry.example/a//b",
            "registry.example?x",
            "registry.example:port",
            "reg\u{1b}istry.example",
        ] {
            assert_eq!(Scope::of(key), None, "{key:?}");
        }
    }
}
