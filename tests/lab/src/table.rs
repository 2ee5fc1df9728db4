//! Tables of cases in tests: every row that is wrong is shown, not only the first.

use std::{
    any::Any,
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::Result;
use futures::FutureExt;

/// Checks each row of a table by assertions.
///
/// # Panics
/// After the last row, if an assertion of any failed; what each of those said was printed by then.
#[track_caller]
pub fn check_rows<R>(rows: impl IntoIterator<Item = R>, mut check: impl FnMut(R)) {
    let mut table = Table::default();
    for row in rows {
        table.note(catch_unwind(AssertUnwindSafe(|| check(row))).map_err(|panic| said(&*panic)));
    }
    table.end();
}

/// The same for rows that take a while, and may fail by an error, too.
///
/// # Panics
/// As [`check_rows`].
pub async fn play_rows<R>(rows: impl IntoIterator<Item = R>, mut play: impl AsyncFnMut(R) -> Result<()>) {
    let mut table = Table::default();
    for row in rows {
        table.note(match AssertUnwindSafe(play(row)).catch_unwind().await {
            Ok(played) => played.map_err(|error| format!("{error:#}")),
            Err(panic) => Err(said(&*panic)),
        });
    }
    table.end();
}

#[derive(Debug, Default)]
struct Table {
    rows: usize,
    wrong: Vec<(usize, String)>,
}

impl Table {
    fn note(&mut self, row: Result<(), String>) {
        self.rows += 1;
        self.wrong.extend(row.err().map(|why| (self.rows, why)));
    }

    #[track_caller]
    fn end(self) {
        let mut text = String::new();
        for (row, why) in &self.wrong {
            // A String takes everything.
            let _ = write!(text, "\nrow {row}: {why}");
        }
        assert!(self.wrong.is_empty(), "{} of {} rows are wrong:{text}", self.wrong.len(), self.rows);
        assert!(self.rows > 0, "a table without rows shows nothing");
    }
}

/// What an assertion said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    const HALVES: [(u32, u32); 4] = [(2, 1), (4, 3), (6, 3), (8, 5)];

    fn told_by(table: impl FnOnce()) -> String {
        said(&*catch_unwind(AssertUnwindSafe(table)).unwrap_err())
    }

    #[test]
    fn every_wrong_row_is_shown_and_no_right_one() {
        let told = told_by(|| check_rows(HALVES, |(whole, half)| assert!(whole / 2 == half, "{whole} is not {half}")));
        assert_eq!(told, "2 of 4 rows are wrong:\nrow 2: 4 is not 3\nrow 4: 8 is not 5");
        check_rows([(2, 1), (4, 2)], |(whole, half)| assert_eq!(whole / 2, half));
    }

    #[test]
    fn rows_that_take_a_while_may_also_fail_by_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let play = async |(whole, half): (u32, u32)| {
            assert!(half < 5, "{half} is too much");
            if whole / 2 == half { Ok(()) } else { bail!("{whole} is not {half}") }
        };
        let told = told_by(|| runtime.block_on(play_rows(HALVES, play)));
        assert_eq!(told, "2 of 4 rows are wrong:\nrow 2: 4 is not 3\nrow 4: 5 is too much");
    }

    #[test]
    fn a_table_without_rows_is_wrong() {
        assert_eq!(told_by(|| check_rows([0; 0], drop)), "a table without rows shows nothing");
    }
}
