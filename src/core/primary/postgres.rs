//! What a PostgreSQL server says of itself over SQL.
//!
//! It knows of no leader lock. A server that was cut off and succeeded says that it is the primary, too: its timeline, which
//! every promotion raises, tells which of both is believed.

use super::{Claim, Claimed};

/// One row of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerRow {
    /// `pg_is_in_recovery()`: it is a standby, or still starting.
    pub in_recovery: bool,
    /// `transaction_read_only`, outside of recovery: somebody set `default_transaction_read_only`.
    pub read_only: bool,
    /// Name of the file that it writes its log to (`pg_walfile_name(pg_current_wal_lsn())`), outside of recovery.
    pub wal_file: Option<String>,
    /// It refuses to say anything of its log, as those of some clouds do.
    pub without_log: bool,
    /// `system_identifier` of `pg_control_system()`.
    pub system_identifier: Option<String>,
}

impl ServerRow {
    /// The timeline is the first eight hexadecimal digits of the file's name. `pg_control_checkpoint()` would only know it
    /// after the next checkpoint.
    #[must_use]
    pub fn timeline(&self) -> Option<u64> {
        let digits = self.wal_file.as_deref().filter(|name| name.len() == 24)?.get(..8)?;
        u64::from_str_radix(digits, 16).ok().filter(|timeline| *timeline > 0)
    }

    /// What it amounts to.
    #[must_use]
    pub fn sight(self) -> Claimed {
        let (claim, because) = match self.timeline() {
            _ if self.in_recovery => (Claim::Follower, ""),
            _ if self.read_only => {
                (Claim::Troubled, "is not in recovery, but takes no writes (default_transaction_read_only is on)")
            }
            None if self.without_log => (
                Claim::Primary { timeline: 0 },
                "it is not in recovery and takes writes (it doesn't say which timeline)",
            ),
            None => (Claim::Troubled, "is not in recovery, but doesn't say which timeline it writes"),
            Some(timeline) => (Claim::Primary { timeline }, "it is not in recovery and takes writes"),
        };
        Claimed { claim, because: because.to_owned(), system_identifier: self.system_identifier, pause: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_nothing_of_its_log_is_believed_without_a_timeline() {
        use Claim::{Follower, Primary, Troubled};
        for (in_recovery, read_only, expected) in
            [(false, false, Primary { timeline: 0 }), (true, true, Follower), (false, true, Troubled)]
        {
            let row = ServerRow { in_recovery, read_only, without_log: true, ..ServerRow::default() };
            assert_eq!(row.sight().claim, expected, "{in_recovery} {read_only}");
        }
    }

    #[test]
    fn a_row_amounts_to_one_thing() {
        use Claim::{Follower, Primary, Troubled};
        for (in_recovery, read_only, wal_file, expected) in [
            (true, true, None, Follower),
            (false, false, Some("000000030000000000000007"), Primary { timeline: 3 }),
            (false, false, Some("0000001A00000001000000FF"), Primary { timeline: 26 }),
            (false, false, Some("FFFFFFFF00000001000000FF"), Primary { timeline: 4_294_967_295 }),
            (false, true, Some("000000030000000000000007"), Troubled),
            (false, false, None, Troubled),
            (false, false, Some("000000000000000000000007"), Troubled),
            (false, false, Some("00000003"), Troubled),
            (false, false, Some("0000000é0000000000000007"), Troubled),
        ] {
            let wal_file = wal_file.map(str::to_owned);
            let system_identifier = Some("77".into());
            let row = ServerRow { in_recovery, read_only, wal_file, without_log: false, system_identifier };
            let shown = format!("{row:?}");
            let sight = row.sight();
            assert_eq!((sight.claim, sight.system_identifier.as_deref()), (expected, Some("77")), "{shown}");
        }
    }
}
