//! One JSON document on stdout with `--json`, sentences for people without.

use crate::cli::TableFormat;
use anyhow::Result;
use report::{CsvLine, csv_headings, csv_page};
use serde::Serialize;
use std::{
    io::{BufWriter, StdoutLock, Write},
    marker::PhantomData,
};

/// How to print an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

impl Format {
    /// Prints `value` for scripts, or what `text` makes of it for people.
    pub(crate) fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        match self {
            Self::Json => println!("{}", serde_json::to_string(value)?),
            Self::Text => println!("{}", text(value).trim_end()),
        }
        Ok(())
    }
}

/// A table on stdout, page by page.
pub(crate) struct Table<L> {
    format: TableFormat,
    out: BufWriter<StdoutLock<'static>>,
    lines: PhantomData<L>,
}

impl<L: CsvLine> Table<L> {
    /// With its headings, where the format has any.
    pub(crate) fn begin(format: TableFormat) -> Result<Self> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        match format {
            TableFormat::Csv => out.write_all(&csv_headings::<L>()?)?,
            TableFormat::Jsonl => {}
        }
        Ok(Self { format, out, lines: PhantomData })
    }

    /// The next lines.
    pub(crate) fn page(&mut self, lines: impl IntoIterator<Item = L>) -> Result<()> {
        match self.format {
            TableFormat::Csv => self.out.write_all(&csv_page(lines)?)?,
            TableFormat::Jsonl => {
                for line in lines {
                    writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn end(mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}
