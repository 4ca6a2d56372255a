//! The table: a row for each image, and for each entry of which there is something else to say.

use crate::one_line::one_line;

use super::columns::cut_middle;
use super::header::iec;
use super::on_board::EntryState;
use super::report::Report;
use super::style::{Style, Tone};

/// Between two columns.
const GAP: usize = 2;
/// What file names keep of a narrow terminal, in columns.
const FILE_MIN: usize = 14;

struct Row {
    image: String,
    file: String,
    size: String,
    state: (Tone, String),
}

pub(super) fn table(report: &Report, style: Style) -> String {
    let rows = rows(report);
    if rows.is_empty() {
        return String::new();
    }
    let head = Row {
        image: "IMAGE".to_owned(),
        file: "FILE".to_owned(),
        size: "SIZE".to_owned(),
        state: (Tone::Plain, "STATE".to_owned()),
    };
    let rows = [head].into_iter().chain(rows).collect::<Vec<_>>();
    let widest = |text: fn(&Row) -> &str| {
        let widths = rows.iter().map(|row| text(row).chars().count());
        widths.max().unwrap_or(0)
    };
    let size = widest(|row| &row.size);
    let state = widest(|row| &row.state.1);
    let left = style.width.saturating_sub(size + state + 3 * GAP);
    let (image, file) = shares(widest(|row| &row.image), widest(|row| &row.file), left);
    let gap = " ".repeat(GAP);
    let line = |row: &Row| {
        let (tone, word) = &row.state;
        let cut = [cut_middle(&row.image, image), cut_middle(&row.file, file)];
        let [name, from] = cut;
        let state = style.paint(*tone, word);
        format!(
            "{name:<image$}{gap}{from:<file$}{gap}{:>size$}{gap}{state}\n",
            row.size
        )
    };
    rows.iter().map(line).collect()
}

/// The widths of two columns that share `left`: what one does not need the other one has.
fn shares(image: usize, file: usize, left: usize) -> (usize, usize) {
    if image + file <= left {
        return (image, file);
    }
    let file = file.min(FILE_MIN.max(left.saturating_sub(image)).max(left / 3));
    let file = file.min(left);
    let image = image.min(left - file);
    (image, file)
}

fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    for entry in &report.entries {
        let file = || entry.name.clone();
        for image in &entry.images {
            let (tone, word) = image.word();
            let is_unseen = entry.entry.state == EntryState::OutOfSight && tone != Tone::Bad;
            let (tone, word) = match is_unseen {
                true => (Tone::Doubtful, "out of sight"),
                false => (tone, word),
            };
            rows.push(Row {
                image: one_line(image.name()),
                file: file(),
                size: iec(image.bytes),
                state: (tone, word.to_owned()),
            });
        }
        let is_told = entry.entry.state == EntryState::OutOfSight && !entry.images.is_empty();
        if let Some(state) = entry.word().filter(|_| !is_told) {
            rows.push(Row {
                image: "-".to_owned(),
                file: file(),
                size: "-".to_owned(),
                state,
            });
        }
    }
    rows
}
