//! What a shell offers when somebody presses TAB: commands and flags from the command line's definition, names from the cluster.

mod names;

use std::{env, ffi::OsString, sync::Arc};

use clap::{Arg, Command, CommandFactory};
use clap_complete::{
    ArgValueCompleter, CompleteEnv, CompletionCandidate,
    engine::{ValueCompleter, complete},
};

use self::names::Names;
use crate::cli::Args;

/// Set by the shells' scripts: which shell asks.
pub const VARIABLE: &str = "SWITCHOVER_COMPLETE";

/// What kubectl does with the words (cobra's directives): no files; no blank after the only one.
const NO_FILES: u8 = 4;
const NO_BLANK: u8 = 2;

/// If a shell asks what to offer, says so and ends the process. Before anything else is done: no thread may run yet.
pub fn answer_shell() {
    CompleteEnv::with_factory(|| offering(env::args_os().skip_while(|word| word != "--").collect()))
        .var(VARIABLE)
        .complete();
}

/// Says to kubectl what to offer after these words, the last of which may be empty: one word a line, and what kubectl does with
/// them. Never an error: whoever presses TAB wants no message.
#[must_use]
pub fn for_kubectl(words: Vec<OsString>) -> String {
    let mut words = words;
    words.insert(0, "switchover".into());
    if words.len() == 1 {
        words.push(OsString::new());
    }
    let mut command = offering(words.clone());
    let last = words.len() - 1;
    let offered = complete(&mut command, words, last, env::current_dir().ok().as_deref()).unwrap_or_default();
    told_as_cobra_does(&offered)
}

fn told_as_cobra_does(offered: &[CompletionCandidate]) -> String {
    let mut lines = String::new();
    for candidate in offered.iter().filter(|candidate| !candidate.is_hide_set()) {
        lines.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            lines.push('\t');
            lines.extend(help.to_string().lines().take(1));
        }
        lines.push('\n');
    }
    let goes_on = |word: &str| word.ends_with(['/', '=', ',']);
    let blank = offered.iter().all(|candidate| !goes_on(&candidate.get_value().to_string_lossy()));
    let directive = if blank { NO_FILES } else { NO_FILES | NO_BLANK };
    lines + &format!(":{directive}\n")
}

/// The command line, whose arguments know what they can be in the cluster that the words name.
fn offering(words: Vec<OsString>) -> Command {
    let names = Arc::new(Names::of(words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect()));
    let mut command = Args::command();
    let tools: Vec<String> = command.get_subcommands().map(|tool| tool.get_name().to_owned()).collect();
    for tool in tools {
        command = command.mut_subcommand(&tool, |definition| {
            definition.mut_args(|argument| match Offer::of(&tool, argument.get_id().as_str()) {
                Some(offer) => offered(argument, offer, names.clone()),
                None => argument,
            })
        });
    }
    command
}

fn offered(argument: Arg, offer: Offer, names: Arc<Names>) -> Arg {
    argument.add(ArgValueCompleter::new(Completer { offer, names }))
}

struct Completer {
    offer: Offer,
    names: Arc<Names>,
}

impl ValueCompleter for Completer {
    fn complete(&self, current: &std::ffi::OsStr) -> Vec<CompletionCandidate> {
        let current = current.to_string_lossy();
        let mut found = self.names.of_kind(self.offer, &current);
        found.retain(|name| name.starts_with(&*current));
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(CompletionCandidate::new).collect()
    }
}

/// What an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    Context,
    Database,
    Namespace,
    /// A pod, `KIND/NAME` or `node/NAME`, of the namespace that was typed.
    Subject,
    /// `NAMESPACE/KIND/NAME`.
    Workload,
    /// A member of the databases that were typed, or of all.
    Member,
    /// A node or a zone.
    Place,
}

impl Offer {
    /// By the names that arguments have in every tool; what roles take comes from manifests.
    fn of(tool: &str, argument: &str) -> Option<Self> {
        if ["controller", "webhook", "agent", "witness"].contains(&tool) {
            return None;
        }
        Some(match (tool, argument) {
            (_, "context") => Self::Context,
            // Of a report's file.
            ("replay", "database") => return None,
            (_, "database" | "databases") => Self::Database,
            (_, "namespace" | "own_namespace") => Self::Namespace,
            ("explain", "subject") => Self::Subject,
            (_, "workload") => Self::Workload,
            ("plan", "to") | ("resume", "primary") => Self::Member,
            ("plan", "without") => Self::Place,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
