//! A CSV export that is written page by page.

use serde::Serialize;

/// A line of an export; its fields are the columns.
pub trait CsvLine: Serialize {
    /// The same, where nothing that a stranger, a relay or a roster wrote can become a formula in
    /// a spreadsheet.
    #[must_use]
    fn spreadsheet_safe(self) -> Self;
}

/// The next page of a CSV export.
#[derive(Debug, Default)]
pub struct CsvPages {
    begun: bool,
}

impl CsvPages {
    /// These lines as CSV; the first page brings the heading.
    ///
    /// # Errors
    /// None in practice: the lines are written to memory.
    pub fn page<L: CsvLine>(&mut self, lines: impl IntoIterator<Item = L>) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::WriterBuilder::new().has_headers(!self.begun).from_writer(Vec::new());
        for line in lines {
            self.begun = true;
            out.serialize(line.spreadsheet_safe())?;
        }
        out.into_inner().map_err(|unwritten| unwritten.into_error().into())
    }
}
