//! The blocks of code in a document.

/// The lines of each block of this language, in their order.
pub fn blocks<'t>(text: &'t str, language: &str) -> Vec<Vec<&'t str>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(of) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```").collect();
            if of == language {
                blocks.push(block);
            }
        }
    }
    blocks
}
