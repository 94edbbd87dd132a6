//! All layers x folds of one image on a labelled page.

use super::{Rgb, legend, text};
use crate::colormap::Table;
use crate::scale::Range;

const INK: [u8; 3] = [30, 30, 30];
const PALE: [u8; 3] = [110, 110, 110];
const PAPER: [u8; 3] = [255, 255, 255];
const MISSING: [u8; 3] = [235, 235, 235];
const LETTERS: f32 = 14.0;
const SMALL: f32 = 11.0;
const MARGIN: usize = 12;
const GAP: usize = 8;
const BAR: usize = 7;

/// One picture of the sheet.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The heatmap.
    pub heat: Rgb,
    /// The values at the ends of its colours.
    pub range: Range,
    /// Its colours.
    pub table: Table,
}

/// What stands on the sheet.
#[derive(Clone, Debug)]
pub struct Sheet<'a> {
    /// Above everything.
    pub title: &'a str,
    /// The input picture, in the corner.
    pub input: &'a Rgb,
    /// The head of each column.
    pub folds: &'a [String],
    /// For each row: the layer's name, and what is known of it.
    pub layers: &'a [(String, String)],
    /// `cells[layer][fold]`; `None` where nothing could be drawn.
    pub cells: Vec<Vec<Option<Cell>>>,
}

/// Draws the sheet: a row a layer, a column a fold, a colour bar below each picture.
pub fn sheet(page: &Sheet<'_>) -> Rgb {
    let cells = page.cells.iter().flatten().flatten();
    let (cell_width, cell_height) = cells
        .map(|cell| (cell.heat.width, cell.heat.height))
        .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
        .unwrap_or((page.input.width, page.input.height));
    let label = page
        .layers
        .iter()
        .flat_map(|(name, about)| [text::width(name, LETTERS), text::width(about, SMALL)])
        .chain([page.input.width])
        .max()
        .unwrap_or_default();
    let (line, small) = (text::line_height(LETTERS), text::line_height(SMALL));
    let row = cell_height + 3 + BAR + 2 + small + GAP;
    let (left, top) = (MARGIN + label + GAP, MARGIN + 2 * line + GAP);
    let least = left + page.folds.len() * (cell_width + GAP) + MARGIN - GAP;
    let width = least.max(text::width(page.title, LETTERS) + 2 * MARGIN);
    // The input stands below the last label.
    let height = top + page.layers.len() * row + MARGIN;
    let corner = page.input.height + line + 2 * MARGIN;
    let mut sheet = Rgb::filled(width, height + corner, PAPER);

    text::draw(&mut sheet, page.title, (MARGIN, MARGIN), LETTERS, INK);
    for (column, fold) in page.folds.iter().enumerate() {
        let x = left + column * (cell_width + GAP);
        let fold = text::fitting(fold, LETTERS, cell_width);
        text::draw(&mut sheet, &fold, (x, MARGIN + line + GAP / 2), LETTERS, INK);
    }
    for (position, ((name, about), cells)) in page.layers.iter().zip(&page.cells).enumerate() {
        let y = top + position * row;
        let middle = y + (cell_height / 2).saturating_sub(line / 2 + small / 2);
        text::draw(&mut sheet, name, (MARGIN, middle), LETTERS, INK);
        text::draw(&mut sheet, about, (MARGIN, middle + line), SMALL, PALE);
        for (column, cell) in cells.iter().enumerate() {
            let x = left + column * (cell_width + GAP);
            match cell {
                Some(cell) => draw_cell(&mut sheet, cell, (x, y), (cell_width, cell_height)),
                None => sheet.paste(&Rgb::filled(cell_width, cell_height, MISSING), x, y),
            }
        }
    }
    text::draw(&mut sheet, "input", (MARGIN, height), LETTERS, INK);
    sheet.paste(page.input, MARGIN, height + line);
    sheet
}

fn draw_cell(
    sheet: &mut Rgb,
    cell: &Cell,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
) {
    let (dx, dy) = ((width - cell.heat.width) / 2, (height - cell.heat.height) / 2);
    sheet.paste(&cell.heat, x + dx, y + dy);
    let bar = y + height + 3;
    legend::colour_bar(sheet, (x, bar), (width, BAR), &cell.table);
    legend::ends(sheet, (x, bar + BAR + 2), width, SMALL, cell.range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colormap::Colormap;

    #[test]
    fn every_cell_stands_in_its_row_and_column_and_a_missing_one_is_pale() {
        let cell = |colour| {
            Some(Cell {
                heat: Rgb::filled(50, 40, colour),
                range: Range { low: 0.0, high: 1.0 },
                table: Colormap::Viridis.table(),
            })
        };
        let layers = [("a".to_owned(), "64 x 8 x 8".to_owned()), ("b".to_owned(), String::new())];
        let page = sheet(&Sheet {
            title: "net",
            input: &Rgb::filled(30, 30, [5, 5, 5]),
            folds: &["fold 1".to_owned(), "fold 2".to_owned()],
            layers: &layers,
            cells: vec![vec![cell([1; 3]), cell([2; 3])], vec![cell([3; 3]), None]],
        });
        let count = |colour: [u8; 3]| page.pixels.chunks(3).filter(|p| *p == colour).count();
        for value in [1, 2, 3] {
            assert_eq!(count([value; 3]), 2000);
        }
        assert!(count(MISSING) >= 2000);
        assert_eq!(count([5; 3]), 900);
    }
}
