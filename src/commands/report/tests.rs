use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use lab::table::check_rows;

use super::*;

#[test]
fn whoever_shows_a_sign_of_life_runs_and_the_rest_is_warned_of() {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    let lease = |holder: &str, renewed: &str| LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(10),
        renew_time: Some(MicroTime(renewed.parse().unwrap())),
        ..LeaseSpec::default()
    };
    // Where two clocks say that it is silent, it is watched before anybody is warned.
    let rows = [
        (Some(lease("c-1", "2026-01-01T00:09:58Z")), (false, None)),
        // A clock that is a little ahead, and a leader that died a moment ago.
        (Some(lease("c-1", "2026-01-01T00:10:05Z")), (false, None)),
        (Some(lease("c-1", "2026-01-01T00:09:35Z")), (false, None)),
        (Some(lease("c-1", "2026-01-01T00:08:00Z")), (true, Some("(c-1 has not renewed its Lease for 120 s)"))),
        (Some(lease("c-1", "2026-01-01T01:08:00Z")), (true, Some("(c-1 doesn't renew its Lease)"))),
        (Some(lease("", "2026-01-01T00:09:50Z")), (false, Some("(the Lease was given back 10 s ago)"))),
        (Some(LeaseSpec::default()), (false, Some("(nobody has ever taken the Lease)"))),
        (None, (false, Some("(nobody has ever taken the Lease)"))),
    ];
    check_rows(rows, |(spec, (unclear, warning))| {
        let report = ControllerReport::of(spec.as_ref(), now);
        let expected = warning.map(|why| format!("NO CONTROLLER RUNS {why}: what follows is as the last one left it."));
        assert_eq!((report.unclear(), report.warning()), (unclear, expected));
    });
}
