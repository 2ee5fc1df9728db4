//! Words that several sentences share.

/// Things that one sentence names.
const MOST_LISTED: usize = 5;

/// The first few, and how many more there are.
#[must_use]
pub fn listed(all: &[impl ToString]) -> String {
    let (told, unlisted) = all.split_at(all.len().min(MOST_LISTED));
    let mut text = told.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if !unlisted.is_empty() {
        text.push_str(&format!("; and {} more", unlisted.len()));
    }
    text
}
