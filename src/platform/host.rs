//! The platform of this machine.

use super::Platform;

impl Platform {
    /// What this machine runs. On ARM it reads `/proc/cpuinfo`, once.
    pub fn host() -> &'static Self {
        static HOST: std::sync::OnceLock<Platform> = std::sync::OnceLock::new();
        HOST.get_or_init(|| {
            let cpuinfo = if cfg!(target_arch = "arm") {
                std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
            } else {
                String::new()
            };
            let little_endian = cfg!(target_endian = "little");
            Self::of_machine(std::env::consts::ARCH, little_endian, &cpuinfo)
        })
    }

    /// The platform of a Linux machine with a processor that Rust calls `arch`
    /// (`std::env::consts::ARCH`) and with this `/proc/cpuinfo`, which counts on 32-bit ARM alone.
    ///
    /// An x86-64 host has no variant, as in every containerd released so far: it would not run an
    /// `amd64/v3` manifest if there is an `amd64` one.
    pub fn of_machine(arch: &str, little_endian: bool, cpuinfo: &str) -> Self {
        let architecture = match (arch, little_endian) {
            ("x86", _) => "386",
            ("loongarch64", _) => "loong64",
            ("powerpc", _) => "ppc",
            ("powerpc64", true) => "ppc64le",
            ("powerpc64", false) => "ppc64",
            ("mips", true) => "mipsle",
            ("mips64", true) => "mips64le",
            ("riscv32", _) => "riscv",
            (arch, _) => arch,
        };
        let variant = if architecture == "arm" {
            arm_variant(cpuinfo)
        } else {
            ""
        };
        Self::normalized("linux", architecture, variant)
    }
}

/// The variant that `/proc/cpuinfo` tells of a 32-bit ARM, or none.
fn arm_variant(cpuinfo: &str) -> &'static str {
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_lowercase())
        })
    };
    let model = field("model name").unwrap_or_default();
    match field("cpu architecture").unwrap_or_default().as_str() {
        "8" | "aarch64" => "v8",
        // The kernel calls the ARMv6 of the first Raspberry Pi a 7.
        "7" if model.starts_with("armv6-compatible") => "v6",
        "6" | "6tej" => "v6",
        "5" | "5t" | "5te" | "5tej" => "v5",
        _ => "",
    }
}
