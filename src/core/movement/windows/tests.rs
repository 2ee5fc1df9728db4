use lab::table::check_rows;
use proptest::prelude::*;

use super::*;

/// `"0 22 * * * for 4h in Europe/Berlin"`
fn window(text: &str) -> (Schedule, Duration, Zone) {
    let (schedule, rest) = text.split_once(" for ").unwrap();
    let (duration, zone) = rest.split_once(" in ").unwrap();
    let hours: u64 = duration.trim_end_matches('h').parse().unwrap();
    (schedule.parse().unwrap(), Duration::from_secs(hours * 3600), zone.parse().unwrap())
}

fn told(windows: &[&str], now: &str) -> String {
    let windows: Vec<_> = windows.iter().map(|text| window(text)).collect();
    let windows = windows.iter().map(|(schedule, duration, zone)| Window { schedule, zone, duration: *duration });
    match closed(windows, now.parse().unwrap()) {
        None => "open".to_owned(),
        Some(Closed { opens: None }) => "closed for ever".to_owned(),
        Some(Closed { opens: Some(opens) }) => format!("until {opens}"),
    }
}

#[test]
fn windows_open_by_their_schedule_and_zone_and_close_after_their_time() {
    let nights = &["0 22 * * * for 4h in Europe/Berlin"][..];
    let weekends = &["0 22 * * * for 4h in Europe/Berlin", "0 0 * * SAT for 48h in UTC"][..];
    let rows = [
        (&[][..], "2026-01-05T12:00:00Z", "open"),
        (nights, "2026-01-05T20:59:59Z", "until 2026-01-05T21:00:00Z"),
        (nights, "2026-01-05T21:00:00Z", "open"),
        (nights, "2026-01-06T00:59:59Z", "open"),
        (nights, "2026-01-06T01:00:00Z", "until 2026-01-06T21:00:00Z"),
        // In summer 22:00 in Berlin is an hour earlier.
        (nights, "2026-07-05T20:00:00Z", "open"),
        (nights, "2026-07-05T19:59:59Z", "until 2026-07-05T20:00:00Z"),
        // The night in which clocks go on has an hour less, the window none.
        (nights, "2026-03-29T00:59:59Z", "open"),
        (nights, "2026-03-29T01:00:00Z", "until 2026-03-29T20:00:00Z"),
        (weekends, "2026-01-10T12:00:00Z", "open"),
        (weekends, "2026-01-09T12:00:00Z", "until 2026-01-09T21:00:00Z"),
        (weekends, "2026-01-12T00:00:00Z", "open"),
        (weekends, "2026-01-12T01:00:00Z", "until 2026-01-12T21:00:00Z"),
        // A window that lasts until it opens again is always open.
        (&["0 0 * * * for 24h in UTC"][..], "2026-01-05T23:59:59Z", "open"),
    ];
    check_rows(rows, |(windows, now, expected)| assert_eq!(told(windows, now), expected, "{windows:?} at {now}"));
}

#[test]
fn what_is_no_schedule_or_zone_says_what_to_write() {
    let rows = ["", "every night", "0 22 * *", "0 0 22 * * *", "61 * * * *", "0 0 30 2 *"];
    check_rows(rows, |text| {
        let error = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{text:?} is no schedule: write five fields as cron does")), "{error}");
    });
    let error = "Europe/Atlantis".parse::<Zone>().unwrap_err().to_string();
    assert_eq!(
        error,
        "\"Europe/Atlantis\" is no time zone: write a name of the IANA's list, such as Europe/Berlin or UTC"
    );
    for text in ["0 22 * * *", "*/15 8-17 * * MON-FRI", "@daily"] {
        assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
    }
}

proptest! {
    /// Whatever the time, a window that is closed says when it opens, and then it does.
    #[test]
    fn a_closed_window_opens_when_it_says(second in 1_600_000_000i64..2_000_000_000, hours in 1u64..30) {
        let (schedule, _, zone) = window("30 1 * * MON,THU for 1h in America/New_York");
        let window = Window { schedule: &schedule, zone: &zone, duration: Duration::from_secs(hours * 3600) };
        let now = Timestamp::from_second(second).unwrap();
        if let Some(closed_now) = closed(std::iter::once(window), now) {
            let opens = closed_now.opens.unwrap();
            prop_assert!(opens > now);
            prop_assert_eq!(closed(std::iter::once(window), opens), None);
        }
    }
}
