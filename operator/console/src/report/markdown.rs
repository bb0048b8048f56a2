//! Markdown with tables whose columns line up in the raw text, too.

/// Text that must not be read as markup: it comes from whoever names a pod.
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                safe.push('\\');
                safe.push(letter);
            }
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\n' | '\r' | '\t' => safe.push(' '),
            letter if letter.is_control() => {}
            letter => safe.push(letter),
        }
    }
    safe
}

/// A table; `right` says which columns are numbers. Cells are already safe.
pub fn table(head: &[String], right: &[bool], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .chain(std::iter::once(&head.to_vec()))
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let is_right = |column: usize| right.get(column).copied().unwrap_or(false);
    let line = |cells: &[String]| {
        let cells: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| {
                let cell = cells.get(column).map_or("", String::as_str);
                if is_right(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            })
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(
            |(column, width)| {
                if is_right(column) { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) }
            },
        )
        .collect();
    let mut text = line(head) + &line(&rule);
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

/// Column names.
pub fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let rows =
            vec![vec!["order".to_owned(), "1.4 s".to_owned()], vec!["ä".to_owned(), "340 ms".to_owned()]];
        let text = table(&head(&["service", "MTTR"]), &[false, true], &rows);
        assert_eq!(
            text,
            "| service |   MTTR |\n| ------- | -----: |\n| order   |  1.4 s |\n| ä       | 340 ms |\n"
        );
    }

    #[test]
    fn names_cannot_break_out_of_a_cell() {
        assert_eq!(plain("<script>a|b\n`x`"), "&lt;script&gt;a\\|b \\`x\\`");
    }
}
