//! What a MySQL or MariaDB server says of itself over SQL.
//!
//! It knows of no leader lock and of no timeline: a server that takes writes says so, whoever else does. Only Group
//! Replication (MySQL) knows more, because there a majority of the members elects the primary.

use std::collections::BTreeMap;

use super::{Claim, Claimed};

/// The variables that are looked at. Servers leave out those that they don't have.
pub const VARIABLES: [&str; 6] =
    ["read_only", "super_read_only", "innodb_read_only", "offline_mode", GROUP_NAME, SERVER_UUID];
const GROUP_NAME: &str = "group_replication_group_name";
const SERVER_UUID: &str = "server_uuid";

/// One server's global variables, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(pub BTreeMap<String, String>);

/// A row of `performance_schema.replication_group_members`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// `MEMBER_ID`: the server's `server_uuid`.
    pub id: String,
    /// `MEMBER_STATE`: `ONLINE`, `RECOVERING`, `OFFLINE`, `ERROR` or `UNREACHABLE`.
    pub state: String,
    /// `MEMBER_ROLE`: `PRIMARY`, `SECONDARY`, or nothing.
    pub role: String,
}

/// What the server knows of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// It belongs to none.
    None,
    /// The login may not read it; the server's own words.
    Unread(String),
    Members(Vec<GroupMember>),
}

impl Variables {
    /// Name of the group that it is set up for, a UUID.
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        self.get(GROUP_NAME).filter(|name| !name.is_empty())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// MariaDB 12 knows several ways to be read-only (`NO_LOCK`, …), and one not to be.
    fn on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "OFF" | "0"))
    }

    /// What it amounts to, together with what the server knows of its group.
    #[must_use]
    pub fn sight(&self, group: &Group) -> Claimed {
        // Readers of some clouds are so by their storage alone, and so is a server that was started that way.
        let read_only = ["read_only", "super_read_only", "innodb_read_only"].iter().any(|name| self.on(name));
        let (claim, because) = match group {
            _ if self.get("read_only").is_none() => {
                (Claim::Troubled, "doesn't say whether it takes writes (read_only)".to_owned())
            }
            Group::Members(members) => self.in_group(members, read_only),
            _ if read_only => (Claim::Follower, String::new()),
            Group::Unread(said) => (
                Claim::Troubled,
                format!(
                    "takes writes, but belongs to a group whose members may not be read ({said}): grant SELECT on \
                     performance_schema.replication_group_members"
                ),
            ),
            Group::None if self.on("offline_mode") => {
                (Claim::Troubled, "takes writes, but no connections (offline_mode is on)".to_owned())
            }
            Group::None => (Claim::Primary { timeline: 0 }, "it takes writes (read_only is off)".to_owned()),
        };
        // What all members of a database have in common, if they have anything.
        let system_identifier = self.group_name().map(str::to_owned);
        Claimed { claim, because, system_identifier, pause: false }
    }

    fn in_group(&self, members: &[GroupMember], read_only: bool) -> (Claim, String) {
        let own = self.get(SERVER_UUID).and_then(|id| members.iter().find(|member| member.id == id));
        let (state, role) = own.map_or(("OFFLINE", ""), |own| (own.state.as_str(), own.role.as_str()));
        // Members that catch up vote, too.
        let votes = members.iter().filter(|member| matches!(member.state.as_str(), "ONLINE" | "RECOVERING")).count();
        let majority = votes * 2 > members.len();
        match (state, role) {
            ("ONLINE", "PRIMARY") if !majority => (
                Claim::Stale { timeline: None },
                format!("is the PRIMARY of its group, but reaches only {votes} of its {} members", members.len()),
            ),
            ("ONLINE", "PRIMARY") if read_only => (
                Claim::Promoting { timeline: None },
                "is the PRIMARY of its group, but not writable yet (super_read_only is on)".to_owned(),
            ),
            ("ONLINE", "PRIMARY") => (
                Claim::Primary { timeline: 0 },
                "it is the PRIMARY of its group, which has a majority, and takes writes".to_owned(),
            ),
            _ if read_only => (Claim::Follower, String::new()),
            (state, role) => {
                let what = if role.is_empty() { state.to_owned() } else { format!("{state} {role}") };
                (Claim::Stale { timeline: None }, format!("takes writes, but is {what} in its group"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> Variables {
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Variables(text.split(' ').filter_map(pair).collect())
    }

    /// `"PRIMARY ONLINE, SECONDARY UNREACHABLE"`: the first is the server itself.
    fn members(text: &str) -> Vec<GroupMember> {
        let member = |(index, words): (usize, &str)| {
            let (role, state) = words.split_once(' ').unwrap_or(("", words));
            GroupMember { id: format!("uuid{index}"), state: state.to_owned(), role: role.to_owned() }
        };
        text.split(", ").enumerate().map(member).collect()
    }

    const WRITABLE: Claim = Claim::Primary { timeline: 0 };
    const STALE: Claim = Claim::Stale { timeline: None };
    const PROMOTING: Claim = Claim::Promoting { timeline: None };

    #[test]
    fn a_server_alone_is_what_its_switches_say() {
        use Claim::{Follower, Troubled};
        for (switches, expected) in [
            ("read_only=OFF", WRITABLE),
            ("read_only=0", WRITABLE),
            ("read_only=OFF super_read_only=OFF offline_mode=OFF", WRITABLE),
            // Installed and never set up.
            ("read_only=OFF super_read_only=OFF group_replication_group_name=", WRITABLE),
            ("read_only=OFF super_read_only=OFF innodb_read_only=ON", Follower),
            ("read_only=OFF super_read_only=OFF innodb_read_only=OFF", WRITABLE),
            ("read_only=ON", Follower),
            ("read_only=1", Follower),
            ("read_only=NO_LOCK", Follower),
            ("read_only=NO_LOCK_NO_ADMIN", Follower),
            ("read_only=ON super_read_only=OFF", Follower),
            ("read_only=ON super_read_only=ON offline_mode=ON", Follower),
            ("read_only=OFF super_read_only=OFF offline_mode=ON", Troubled),
            ("super_read_only=OFF", Troubled),
        ] {
            let sight = variables(switches).sight(&Group::None);
            assert_eq!((sight.claim, sight.system_identifier), (expected, None), "{switches}");
        }
    }

    #[test]
    fn a_member_of_a_group_is_what_the_group_says() {
        use Claim::Follower;
        const OFF: &str = "read_only=OFF super_read_only=OFF";
        const ON: &str = "read_only=ON super_read_only=ON";
        for (switches, group, expected) in [
            (OFF, "PRIMARY ONLINE, SECONDARY ONLINE, SECONDARY ONLINE", WRITABLE),
            (OFF, "PRIMARY ONLINE", WRITABLE),
            (OFF, "PRIMARY ONLINE, SECONDARY ONLINE, SECONDARY UNREACHABLE", WRITABLE),
            (OFF, "PRIMARY ONLINE, SECONDARY RECOVERING, SECONDARY UNREACHABLE", WRITABLE),
            (OFF, "PRIMARY ONLINE, SECONDARY UNREACHABLE, SECONDARY UNREACHABLE", STALE),
            (OFF, "PRIMARY ONLINE, SECONDARY UNREACHABLE", STALE),
            (OFF, "PRIMARY ONLINE, SECONDARY ERROR", STALE),
            (ON, "PRIMARY ONLINE, SECONDARY ONLINE", PROMOTING),
            (ON, "SECONDARY ONLINE, PRIMARY ONLINE", Follower),
            (OFF, "SECONDARY ONLINE, PRIMARY ONLINE", STALE),
            (ON, "SECONDARY RECOVERING, PRIMARY ONLINE", Follower),
            (ON, "ERROR", Follower),
            (OFF, "ERROR", STALE),
            (OFF, "OFFLINE", STALE),
            (ON, "OFFLINE", Follower),
        ] {
            let server = variables(&format!("{switches} group_replication_group_name=g server_uuid=uuid0"));
            let sight = server.sight(&Group::Members(members(group)));
            assert_eq!((sight.claim, sight.system_identifier.as_deref()), (expected, Some("g")), "{switches}: {group}");
            let stranger = variables(&format!("{switches} group_replication_group_name=g server_uuid=other"));
            let sight = stranger.sight(&Group::Members(members(group)));
            assert_eq!(sight.claim, if switches == OFF { STALE } else { Follower }, "not in it: {switches}: {group}");
        }
    }

    #[test]
    fn a_group_that_may_not_be_read_is_told_and_not_guessed() {
        let unread = Group::Unread("SELECT command denied".to_owned());
        let server = |read_only: &str| variables(&format!("read_only={read_only} group_replication_group_name=g"));
        let sight = server("OFF").sight(&unread);
        assert_eq!(sight.claim, Claim::Troubled);
        assert!(sight.because.contains("(SELECT command denied): grant SELECT on performance_schema."), "{sight:?}");
        assert_eq!(server("ON").sight(&unread).claim, Claim::Follower);
    }
}
