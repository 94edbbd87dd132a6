//! All layers x folds of one image on a labelled page.

use super::{Rgb, legend, text};
use crate::colormap::Colours;
use crate::maps::Flag;

const INK: [u8; 3] = [30, 30, 30];
const PALE: [u8; 3] = [95, 95, 95];
const PAPER: [u8; 3] = [255, 255, 255];
const MISSING: [u8; 3] = [235, 235, 235];
const LARGE: f32 = 20.0;
const LETTERS: f32 = 15.0;
const SMALL: f32 = 12.5;
const MARGIN: usize = 16;
const GAP: usize = 10;
const BAR: usize = 8;
/// The widest label of a layer, in pixels; a longer name loses its middle.
const LABEL: usize = 270;
/// The header's room for text, at least.
const HEADER: usize = 420;
/// How much higher than wide a page may be before its layers go on in a second column.
const TALLEST: f32 = 1.5;

/// One picture of the sheet.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The heatmap.
    pub heat: Rgb,
    /// What its colours mean.
    pub colours: Colours,
    /// What is marked in it.
    pub flags: Vec<Flag>,
}

/// What stands on the sheet.
#[derive(Clone, Debug)]
pub struct Sheet<'a> {
    /// Above everything.
    pub title: &'a str,
    /// Below the title, a line each.
    pub notes: &'a [String],
    /// The input picture, beside the title.
    pub input: &'a Rgb,
    /// The head of each column.
    pub folds: &'a [String],
    /// For each row: the layer's name, and what is known of it.
    pub layers: &'a [(String, String)],
    /// `cells[layer][fold]`; `None` where nothing could be drawn.
    pub cells: Vec<Vec<Option<Cell>>>,
}

/// Where things stand, in pixels.
struct Plan {
    cell: (usize, usize),
    label: usize,
    /// Layers below each other; more go on in the next block of columns.
    rows: usize,
    row: usize,
    block: usize,
    width: usize,
    height: usize,
    /// Where the first row's column heads stand.
    top: usize,
}

impl Plan {
    fn new(sheet: &Sheet<'_>) -> Plan {
        let cells = sheet.cells.iter().flatten().flatten();
        let cell = cells
            .map(|cell| (cell.heat.width, cell.heat.height))
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
            .unwrap_or((sheet.input.width, sheet.input.height));
        let labels = sheet.layers.iter();
        let label = labels
            .flat_map(|(name, about)| [text::width(name, LETTERS), text::width(about, SMALL)])
            .max()
            .unwrap_or_default()
            .min(LABEL);
        let row = cell.1 + 3 + BAR + 2 + text::line_height(SMALL) + GAP;
        let block = label + GAP + sheet.folds.len() * (cell.0 + GAP) + MARGIN;
        let text = text::line_height(LARGE) + sheet.notes.len() * text::line_height(LETTERS);
        let top = MARGIN + text.max(sheet.input.height) + MARGIN;
        let head = text::line_height(LETTERS) + 4;
        let count = sheet.layers.len().max(1);
        let height = |rows: usize| top + head + rows * row + MARGIN;
        let header = MARGIN + sheet.input.width + MARGIN + HEADER + MARGIN;
        let width = |blocks: usize| (2 * MARGIN - GAP + blocks * block - MARGIN).max(header);
        let blocks = (1..count)
            .find(|blocks| {
                height(count.div_ceil(*blocks)) as f32 <= TALLEST * width(*blocks) as f32
            })
            .unwrap_or(count);
        let rows = count.div_ceil(blocks);
        // The rounding may have left a block without layers.
        let blocks = count.div_ceil(rows);
        Plan { cell, label, rows, row, block, width: width(blocks), height: height(rows), top }
    }

    /// The left edge of a layer's block and the upper edge of its cells.
    fn place(&self, layer: usize) -> (usize, usize) {
        let head = self.top + text::line_height(LETTERS) + 4;
        (MARGIN + layer / self.rows * self.block, head + layer % self.rows * self.row)
    }

    fn column(&self, left: usize, fold: usize) -> usize {
        left + self.label + GAP + fold * (self.cell.0 + GAP)
    }
}

/// Draws the sheet: a row a layer, a column a fold, a colour bar below each picture.
/// Many layers go on in further blocks of columns, so that the page stays a page.
pub fn sheet(sheet: &Sheet<'_>) -> Rgb {
    let plan = Plan::new(sheet);
    let marks = marks(sheet);
    let foot = if marks.is_empty() { 0 } else { text::line_height(LETTERS) + MARGIN };
    let mut page = Rgb::filled(plan.width, plan.height + foot, PAPER);
    header(&mut page, sheet);
    for (layer, (label, cells)) in sheet.layers.iter().zip(&sheet.cells).enumerate() {
        let (left, y) = plan.place(layer);
        if layer % plan.rows == 0 {
            heads(&mut page, sheet, &plan, left);
        }
        let middle = y + (plan.cell.1 / 2).saturating_sub(text::line_height(LETTERS));
        let below = middle + text::line_height(LETTERS);
        let (name, about) = (&label.0, &label.1);
        let name = text::fitting(name, LETTERS, plan.label);
        text::draw(&mut page, &name, (left, middle), LETTERS, INK);
        text::draw(&mut page, about, (left, below), SMALL, PALE);
        for (fold, cell) in cells.iter().enumerate() {
            let x = plan.column(left, fold);
            match cell {
                Some(cell) => draw_cell(&mut page, cell, (x, y), plan.cell),
                None => missing(&mut page, (x, y), plan.cell),
            }
        }
    }
    if let Some((_, colours)) = marks.first() {
        let flags: Vec<Flag> = marks.iter().map(|(flag, _)| *flag).collect();
        legend::mark_line(&mut page, &flags, (MARGIN, plan.height), LETTERS, colours);
    }
    page
}

/// Every mark that is on the sheet, once, with the colours that it stands on.
fn marks<'a>(sheet: &'a Sheet<'_>) -> Vec<(Flag, &'a Colours)> {
    let mut marks: Vec<(Flag, &Colours)> = Vec::new();
    for cell in sheet.cells.iter().flatten().flatten() {
        for flag in &cell.flags {
            if !marks.iter().any(|(known, _)| known == flag) {
                marks.push((*flag, &cell.colours));
            }
        }
    }
    marks.sort_by_key(|(flag, _)| *flag);
    marks
}

fn header(page: &mut Rgb, sheet: &Sheet<'_>) {
    page.paste(sheet.input, MARGIN, MARGIN);
    let left = MARGIN + sheet.input.width + MARGIN;
    let room = page.width.saturating_sub(left + MARGIN);
    let title = text::fitting(sheet.title, LARGE, room);
    text::draw(page, &title, (left, MARGIN), LARGE, INK);
    let mut y = MARGIN + text::line_height(LARGE);
    for note in sheet.notes {
        text::draw(page, &text::fitting(note, LETTERS, room), (left, y), LETTERS, PALE);
        y += text::line_height(LETTERS);
    }
}

fn heads(page: &mut Rgb, sheet: &Sheet<'_>, plan: &Plan, left: usize) {
    for (fold, head) in sheet.folds.iter().enumerate() {
        let head = text::fitting(head, LETTERS, plan.cell.0);
        text::draw(page, &head, (plan.column(left, fold), plan.top), LETTERS, INK);
    }
}

fn draw_cell(page: &mut Rgb, cell: &Cell, (x, y): (usize, usize), (width, height): (usize, usize)) {
    let (dx, dy) = ((width - cell.heat.width) / 2, (height - cell.heat.height) / 2);
    page.paste(&cell.heat, x + dx, y + dy);
    let bar = y + height + 3;
    legend::colour_bar(page, (x, bar), (width, BAR), &cell.colours, &cell.flags);
    legend::ends(page, (x, bar + BAR + 2), width, SMALL, &cell.colours, &cell.flags);
}

fn missing(page: &mut Rgb, (x, y): (usize, usize), (width, height): (usize, usize)) {
    page.paste(&Rgb::filled(width, height, MISSING), x, y);
    let word = text::fitting("missing", SMALL, width);
    let left = x + (width - text::width(&word, SMALL)) / 2;
    let middle = y + (height / 2).saturating_sub(text::line_height(SMALL) / 2);
    text::draw(page, &word, (left, middle), SMALL, PALE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colormap::Colormap;
    use crate::scale::Range;

    fn cell(colour: [u8; 3], flags: &[Flag]) -> Option<Cell> {
        Some(Cell {
            heat: Rgb::filled(100, 80, colour),
            colours: Colormap::Viridis.colours(Range { low: 0.0, high: 1.0 }),
            flags: flags.to_vec(),
        })
    }

    fn drawn(layers: &[(String, String)], cells: Vec<Vec<Option<Cell>>>) -> Rgb {
        sheet(&Sheet {
            title: "net",
            notes: &["fox.png".to_owned()],
            input: &Rgb::filled(30, 30, [5, 5, 5]),
            folds: &["fold 1".to_owned(), "fold 2".to_owned()],
            layers,
            cells,
        })
    }

    fn count(page: &Rgb, colour: [u8; 3]) -> usize {
        page.pixels.chunks(3).filter(|pixel| *pixel == colour).count()
    }

    #[test]
    fn every_cell_is_on_the_page_and_a_missing_one_is_pale() {
        let layers = [("a".to_owned(), "64 x 8 x 8".to_owned()), ("b".to_owned(), String::new())];
        let cells = vec![vec![cell([1; 3], &[]), cell([2; 3], &[])], vec![cell([3; 3], &[]), None]];
        let page = drawn(&layers, cells);
        for value in [1, 2, 3] {
            assert_eq!(count(&page, [value; 3]), 8000);
        }
        assert!(count(&page, MISSING) >= 7000);
        assert_eq!(count(&page, [5; 3]), 900);
    }

    #[test]
    fn many_layers_go_on_in_further_columns() {
        let layers: Vec<_> = (0..49).map(|n| (format!("layer{n}"), String::new())).collect();
        let cells = (0..49).map(|_| vec![cell([1; 3], &[]), cell([2; 3], &[])]).collect();
        let page = drawn(&layers, cells);
        assert!(page.height as f32 <= 1.6 * page.width as f32, "{} {}", page.width, page.height);
        assert!(page.width < 2 * page.height, "{} {}", page.width, page.height);
        assert_eq!((count(&page, [1; 3]), count(&page, [2; 3])), (49 * 8000, 49 * 8000));
    }

    #[test]
    fn marks_are_explained_at_the_foot() {
        let layers = [("a".to_owned(), String::new())];
        let plain = drawn(&layers, vec![vec![cell([1; 3], &[]), cell([2; 3], &[])]]);
        let marked = drawn(&layers, vec![vec![cell([1; 3], &[Flag::Nan]), cell([2; 3], &[])]]);
        assert!(marked.height > plain.height);
        assert!(count(&marked, [255, 0, 255]) > 0 && count(&plain, [255, 0, 255]) == 0);
    }
}
