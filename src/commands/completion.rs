//! `switchover completion`: the scripts by which shells, and kubectl, ask `complete` what to offer.

use std::io::{self, Write};

use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::complete::VARIABLE;
use crate::cli::{CompletedBy, CompletionArgs};

const PROGRAM: &str = "switchover";

/// kubectl runs a program of this name and passes on what it prints.
const FOR_KUBECTL: &str = r#"#!/bin/sh
# kubectl runs this to complete `kubectl switchover`: keep it on the PATH as kubectl_complete-switchover, executable.
for program in kubectl-switchover switchover; do
  command -v "$program" >/dev/null 2>&1 && exec "$program" __complete -- "$@"
done
echo :4
"#;

/// Prints the script.
///
/// # Errors
/// Nobody takes it.
pub fn run(args: &CompletionArgs) -> io::Result<()> {
    io::stdout().lock().write_all(&script(args.shell)?)
}

fn script(shell: CompletedBy) -> io::Result<Vec<u8>> {
    let shell: &dyn EnvCompleter = match shell {
        CompletedBy::Bash => &Bash,
        CompletedBy::Zsh => &Zsh,
        CompletedBy::Fish => &Fish,
        CompletedBy::Kubectl => return Ok(FOR_KUBECTL.into()),
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Zsh and fish are run where they are installed: the script is theirs to read, and bash is everywhere.
    #[test]
    fn each_script_is_one_that_its_shell_reads_and_it_asks_this_program() {
        let scripts = [
            (
                CompletedBy::Bash,
                "bash",
                "complete -o nospace -o bashdefault -o nosort -F _clap_complete_switchover switchover",
            ),
            (CompletedBy::Zsh, "zsh", "#compdef switchover"),
            (CompletedBy::Fish, "fish", "complete --keep-order --exclusive --command switchover"),
            (CompletedBy::Kubectl, "sh", "__complete -- \"$@\""),
        ];
        for (shell, program, says) in scripts {
            let script = script(shell).unwrap();
            let text = String::from_utf8(script.clone()).unwrap();
            assert!(text.contains(says), "{text}");
            assert!(shell == CompletedBy::Kubectl || text.contains("SWITCHOVER_COMPLETE"), "{text}");
            let file = std::env::temp_dir().join(format!("switchover-completion-{}-{program}", std::process::id()));
            std::fs::write(&file, script).unwrap();
            if let Ok(read) = Command::new(program).arg("-n").arg(&file).output() {
                assert!(read.status.success(), "{program}: {}", String::from_utf8_lossy(&read.stderr));
            }
            std::fs::remove_file(file).unwrap();
        }
    }
}
