//! Cells that spreadsheet programs would take for formulas (OWASP ASVS 5.0, 1.2.10).

/// The text, with a leading apostrophe where a spreadsheet program would calculate it.
#[must_use]
pub fn spreadsheet_safe(cell: &str) -> String {
    let formula =
        |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    if cell.starts_with(formula) { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_begin_a_formula_is_known() {
        for first in ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"] {
            let cell = format!("{first}HYPERLINK(\"http://example.jp\")");
            assert_eq!(spreadsheet_safe(&cell), format!("'{cell}"));
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, safe) in [("=1+1", "'=1+1"), ("＝1", "'＝1"), ("\tx", "'\tx"), ("a=b", "a=b"), ("", "")]
        {
            assert_eq!(spreadsheet_safe(cell), safe);
        }
    }
}
