//! A recorded review in a form of which a second recording differs little: what is random or the time of day is replaced,
//! and each value stands on its own line. Order and spelling stay as they were sent.

/// What random text stands behind: it ends with the first character that is no letter or digit.
const RANDOM: [&str; 5] = ["kube-api-access-", "X509SHA256=", "cronjob-", r#""10.0.0."#, r#""resourceVersion":""#];

const TIME: &str = "2026-01-01T00:00:00Z";

/// Makes one review, as compact as the API server sends it, fit to be kept.
pub(super) fn tidy(review: &str) -> String {
    indented(&steady(review))
}

/// UIDs are numbered in the order in which they appear, times become one time, and other random text a zero.
fn steady(text: &str) -> String {
    let mut uids: Vec<&str> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if let Some(uid) = rest.get(..36).filter(|text| is_uid(text)) {
            let number = uids.iter().position(|known| *known == uid).unwrap_or_else(|| {
                uids.push(uid);
                uids.len() - 1
            });
            out.push_str(&format!("00000000-0000-4000-8000-{:012}", number + 1));
            36
        } else if let Some(length) = time(rest) {
            out.push_str(TIME);
            length
        } else if let Some(known) = RANDOM.into_iter().find(|known| rest.starts_with(known)) {
            out.push_str(known);
            out.push('0');
            rest.len() - rest[known.len()..].trim_start_matches(|c: char| c.is_ascii_alphanumeric()).len()
        } else {
            out.push(next);
            next.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

fn is_uid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    })
}

/// The length of the time in UTC that stands here, with or without fractions of a second.
fn time(text: &str) -> Option<usize> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape };
    text.get(..SHAPE.len()).filter(|text| text.bytes().zip(SHAPE).all(fits))?;
    let rest = text[SHAPE.len()..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    rest.starts_with('Z').then(|| text.len() - rest.len() + 1)
}

/// Indents JSON that has no spaces between its tokens.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    let mut characters = json.trim().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = characters.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_random_is_replaced_and_the_rest_stays_as_it_was_sent() {
        let first = "0d7f6a52-3c1e-4b7a-9f10-aa0123456789";
        let second = "1d7f6a52-3c1e-4b7a-9f10-aa0123456789";
        let sent = format!(
            r#"{{"uid":"{first}","b":[],"a":{{"é":"{second}\",{{","again":"{first}"}},"at":["2026-11-24T19:19:00.123456Z",null],"v":"kube-api-access-x7k2p"}}"#
        );
        let expected = r#"{
  "uid": "00000000-0000-4000-8000-000000000001",
  "b": [],
  "a": {
    "é": "00000000-0000-4000-8000-000000000002\",{",
    "again": "00000000-0000-4000-8000-000000000001"
  },
  "at": [
    "2026-01-01T00:00:00Z",
    null
  ],
  "v": "kube-api-access-0"
}
"#;
        assert_eq!(tidy(&sent), expected);
    }
}
