//! Whatever a member answers: a view of bounded size, or a sentence of bounded length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchover::{
    core::{
        announcement::Heard,
        primary::{Answer, MemberBody},
        words::is_obeyed,
    },
    discover::patroni::{LONGEST_TEXT, MAX_MEMBERS, answer, base_url, parse_cluster, parse_member},
};

/// Most bytes of a sentence about an answer: a text that it quotes, and what is said of it.
const LONGEST_SENTENCE: usize = LONGEST_TEXT + 128;

fn bounded(body: &MemberBody) {
    let told = [&body.name, &body.system_identifier, &body.started];
    let mut texts = [&body.state, &body.role].into_iter().chain(told.into_iter().flatten());
    assert!(texts.all(|text| text.len() <= LONGEST_TEXT), "{body:?}");
    assert!(body.timeline.is_none_or(|timeline| (1..=u64::from(u32::MAX)).contains(&timeline)), "{body:?}");
}

fuzz_target!(|bytes: &[u8]| {
    let member = parse_member(bytes);
    match &member {
        Ok(body) => bounded(body),
        Err(error) => assert!(error.to_string().len() <= LONGEST_SENTENCE, "{error}"),
    }
    match parse_cluster(bytes) {
        Ok(cluster) => {
            assert!(cluster.members.len() <= MAX_MEMBERS);
            match cluster.announced {
                Heard::Announced(it) => {
                    let told = it.to_string();
                    assert!(told.len() <= 2 * LONGEST_TEXT + 128 && !told.contains(is_obeyed), "{told}");
                }
                Heard::Unreadable(why) => assert!(why.len() <= LONGEST_SENTENCE, "{why}"),
                Heard::None => {}
                Heard::Nothing => panic!("a list came"),
            }
            for member in cluster.members {
                assert!([&member.name, &member.host].into_iter().all(|text| text.len() <= LONGEST_TEXT), "{member:?}");
                let url = member.api_url.expect("of a member that has none nothing is known");
                assert_eq!(base_url(&url).as_ref(), Some(&url), "not in one form");
            }
        }
        Err(error) => assert!(error.to_string().len() <= LONGEST_SENTENCE, "{error}"),
    }
    for status in [200, 503, 500] {
        match answer(&Ok((status, bytes.to_vec()))) {
            Answer::Http { status: told, body } => assert_eq!((told, Ok(body)), (status, member.clone())),
            Answer::Unreachable { error } => assert!(error.len() <= LONGEST_SENTENCE, "{error}"),
            Answer::Pending | Answer::Seen(_) | Answer::Nameless { .. } => panic!("an answer of Patroni came"),
        }
    }
});
