//! The report as text.

use super::detail::entry_detail;
use super::header::header;
use super::problems::problems;
use super::report::Report;
use super::style::Style;
use super::table::table;

/// The header, the table, and what is wrong.
pub fn overview(report: &Report, style: Style) -> String {
    let parts = [
        header(report, style),
        table(report, style),
        problems(report, style),
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

/// The header, and all that is known of what [`Report::about`] has found.
pub fn detail(report: &Report, part: &Report, style: Style) -> String {
    let mut parts = vec![header(report, style)];
    let entries = part.entries.iter();
    parts.extend(entries.map(|entry| entry_detail(entry, style)));
    parts.join("\n")
}
