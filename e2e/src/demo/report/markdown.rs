//! The report as Markdown, for tickets and chats: the figures, the tables as printed and each fault. Plots and all lines are
//! in the page only.

use std::fmt::Write as _;

use super::{DEFINITIONS, FAULT_COLUMNS, Input, fault_cells, head, word};

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    // An escape of its own before each pipe, and no line of its own.
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

fn row(page: &mut String, cells: impl IntoIterator<Item = String>) {
    for text in cells {
        let _ = write!(page, "| {} ", cell(&text));
    }
    page.push_str("|\n");
}

fn rule(page: &mut String, numbers: impl IntoIterator<Item = bool>) {
    for number in numbers {
        page.push_str(if number { "|---:" } else { "|---" });
    }
    page.push_str("|\n");
}

/// The whole report.
pub fn markdown(input: &Input<'_>) -> String {
    let mut page = format!("# Homeostat beside plain Kubernetes\n\n{}\n", cell(&head(input)));
    page.push_str("\n## Figures\n\nPASS: what must hold does. MISS: it does not. ?: this run has too little to tell.\n\n");
    row(&mut page, ["Holds", "What", "Measured", "Must"].map(str::to_owned));
    rule(&mut page, [false; 4]);
    for figure in input.figures {
        let (_, holds) = word(figure.standing);
        row(&mut page, [holds.to_owned(), figure.name.clone(), figure.value.clone(), figure.must.clone()]);
    }
    // A fence longer than any in the text.
    let longest = input.text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = write!(page, "\n## Tables\n\n{fence}text\n{}\n{fence}\n", input.text.trim_matches('\n'));
    page.push_str("\n## Definitions\n\n");
    for definition in DEFINITIONS {
        let _ = writeln!(page, "- {definition}");
    }
    page.push_str("\n## Faults\n\n");
    row(&mut page, FAULT_COLUMNS.map(|(name, _)| name.to_owned()));
    rule(&mut page, FAULT_COLUMNS.map(|(_, number)| number));
    for fault in &input.result.faults {
        row(&mut page, fault_cells(fault));
    }
    page
}
