//! What systemd has of `stowd.service`.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::process::Command;

use super::answer::answer;
use super::diagnosis::Diagnosis;

const SUBJECT: &str = "unit";

/// What gives the unit a mount namespace, or rights, that its containers would have too: with why the
/// value is wrong.
const APART: [&str; 9] = [
    "PrivateTmp",
    "PrivateMounts",
    "PrivateDevices",
    "PrivateNetwork",
    "ProtectSystem",
    "ProtectHome",
    "ProtectKernelTunables",
    "ProtectControlGroups",
    "NoNewPrivileges",
];

pub(super) async fn examine() -> Vec<Diagnosis> {
    if !Path::new("/run/systemd/system").is_dir() {
        return vec![Diagnosis::good(SUBJECT, "systemd does not run here")];
    }
    let properties = [
        "LoadState",
        "FragmentPath",
        "DropInPaths",
        "UnitFileState",
        "KillMode",
        "NotifyAccess",
    ];
    let wanted = properties
        .iter()
        .chain(&APART)
        .copied()
        .collect::<Vec<_>>()
        .join(",");
    let mut command = Command::new("systemctl");
    command.args(["show", "stowd.service", "--property", &wanted]);
    match answer(&mut command).await {
        Some(Ok(output)) if output.status.success() => {
            judged(&Properties::of(&String::from_utf8_lossy(&output.stdout)))
        }
        _ => vec![Diagnosis::doubtful(
            SUBJECT,
            "systemctl show stowd.service does not answer",
        )],
    }
}

/// Properties of a unit, as `systemctl show` prints them.
struct Properties<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Properties<'a> {
    fn of(text: &'a str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.split_once('='))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or_default()
    }
}

fn judged(properties: &Properties<'_>) -> Vec<Diagnosis> {
    if properties.get("LoadState") != "loaded" {
        return vec![Diagnosis::doubtful(
            SUBJECT,
            "stowd.service is not installed; packaging/install does that",
        )];
    }
    let apart = APART
        .into_iter()
        .filter(|name| !matches!(properties.get(name), "" | "no"));
    let mut found = apart
        .map(|name| {
            Diagnosis::bad(
                SUBJECT,
                format!("{name}={}: containers would have it too, or not see the host's mounts; take it \
                         out of the drop-in", properties.get(name)),
            )
        })
        .collect::<Vec<_>>();
    if properties.get("KillMode") != "process" {
        found.push(Diagnosis::doubtful(
            SUBJECT,
            format!(
                "KillMode={}: a restart of stowd ends all containers; it should be process",
                properties.get("KillMode")
            ),
        ));
    }
    if properties.get("NotifyAccess") != "main" {
        found.push(Diagnosis::doubtful(
            SUBJECT,
            format!(
                "NotifyAccess={}: containerd's own READY would count; it should be main",
                properties.get("NotifyAccess")
            ),
        ));
    }
    let path = properties.get("FragmentPath");
    let drop_ins = match properties.get("DropInPaths") {
        "" => "no drop-ins".to_owned(),
        paths => format!("with {paths}"),
    };
    found.push(match properties.get("UnitFileState") {
        "enabled" => Diagnosis::good(SUBJECT, format!("{path}, enabled, {drop_ins}")),
        state => Diagnosis::doubtful(
            SUBJECT,
            format!(
                "{path}, {state}, {drop_ins}: it does not start at boot; systemctl enable stowd"
            ),
        ),
    });
    found
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Severity;
    use super::*;

    fn severities(text: &str) -> Vec<(Severity, String)> {
        let found = judged(&Properties::of(text)).into_iter();
        found.map(|one| (one.severity, one.text)).collect()
    }

    #[test]
    fn a_drop_in_that_sandboxes_is_found() {
        let good = "LoadState=loaded\nFragmentPath=/x\nDropInPaths=\nUnitFileState=enabled\n\
                    KillMode=process\nNotifyAccess=main\nPrivateTmp=no\n";
        let found = severities(good);
        assert_eq!(
            found,
            [(Severity::Good, "/x, enabled, no drop-ins".to_owned())]
        );
        let bad = good.replace("PrivateTmp=no", "PrivateTmp=yes");
        let found = severities(&bad);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, Severity::Bad);
        assert!(found[0].1.starts_with("PrivateTmp=yes: "), "{found:?}");
        let killing = good.replace("KillMode=process", "KillMode=mixed");
        assert_eq!(severities(&killing)[0].0, Severity::Doubtful);
        assert_eq!(severities("LoadState=not-found\n")[0].0, Severity::Doubtful);
    }
}
