//! Tables without borders: aligned columns, colour on a terminal only.

use crate::output;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table};

/// Terminals with fewer columns than this are narrow.
const NARROW: u16 = 60;

/// How a cell is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Neither good nor bad.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// A cell of this tone.
pub fn cell(text: impl AsRef<str>, tone: Tone) -> Cell {
    let cell = Cell::new(output::plain(text.as_ref()));
    match tone {
        _ if !output::colour() => cell,
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warn => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
    }
}

/// A table with these headings; none if empty.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if !headings.is_empty() {
        let bold = |cell: Cell| if output::colour() { cell.add_attribute(Attribute::Bold) } else { cell };
        table.set_header(headings.iter().map(|heading| bold(Cell::new(heading))));
    }
    // In a narrow one, or one of unknown width, columns of single letters would be worse than long lines.
    if output::terminal() && table.width().is_some_and(|width| width >= NARROW) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// The table as text, without padding at the beginning and the end of its lines.
pub fn render(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    // An id that is broken over two lines cannot be copied.
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_plain_without_a_terminal() {
        let mut rows = table(&["ID", "STATE"]);
        rows.add_row([cell("c1", Tone::Plain), cell("running", Tone::Good)]);
        rows.add_row([cell("longer-id", Tone::Plain), cell("gc", Tone::Warn)]);
        assert_eq!(render(rows), "ID         STATE\nc1         running\nlonger-id  gc");
    }
}
