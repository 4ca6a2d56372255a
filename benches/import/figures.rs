//! Figures as people read them. Pure.

use std::time::Duration;

/// The middle one, or the mean of the two in the middle. None of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// [`median`] of times. Zero of nothing.
pub(crate) fn median_time(times: &[Duration]) -> Duration {
    let seconds = times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    median(&seconds).map_or(Duration::ZERO, Duration::from_secs_f64)
}

/// The shortest. Zero of nothing.
pub(crate) fn shortest(times: &[Duration]) -> Duration {
    times.iter().min().copied().unwrap_or_default()
}

/// Three digits that count: `12.3 s`, `1.23 s`, `123 ms`, `12.3 ms`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 0.1 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// The shortest and the longest: `1.23 s to 1.45 s`. One alone, or none, has no spread.
pub(crate) fn spread(times: &[Duration]) -> String {
    match (times.iter().min(), times.iter().max()) {
        (Some(shortest), Some(longest)) if times.len() > 1 => {
            format!("{} to {}", self::time(*shortest), self::time(*longest))
        }
        _ => String::new(),
    }
}

/// How many times as long: `4.1 x`. Nothing where one of them took no time.
pub(crate) fn ratio(longer: Duration, shorter: Duration) -> String {
    if longer.is_zero() || shorter.is_zero() {
        return String::new();
    }
    let ratio = longer.as_secs_f64() / shorter.as_secs_f64();
    match ratio {
        _ if ratio < 10.0 => format!("{ratio:.2} x"),
        _ => format!("{ratio:.0} x"),
    }
}

/// Bytes: `1.1 GiB`, `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    // Lengths of files and of memory are far from where this loses digits.
    #[allow(clippy::cast_precision_loss)]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1000.0 {
        format!("{mebibytes:.1} MiB")
    } else {
        format!("{:.2} GiB", mebibytes / 1024.0)
    }
}

/// A row of a Markdown table.
pub(crate) fn row<S: AsRef<str>>(cells: &[S]) -> String {
    let cells = cells.iter().map(AsRef::as_ref).collect::<Vec<_>>();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a Markdown table, with the line under it.
pub(crate) fn head(cells: &[&str]) -> String {
    row(cells) + &row(&vec!["---"; cells.len()])
}
