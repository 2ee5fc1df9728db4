//! `switchover man`: a man page for each command, for packages.

use std::{io, path::Path};

use clap::CommandFactory;

use crate::cli::{Args, ManArgs};

/// Writes them.
///
/// # Errors
/// The folder isn't there, or can't be written.
pub fn run(args: &ManArgs) -> io::Result<()> {
    write(&args.folder)
}

fn write(folder: &Path) -> io::Result<()> {
    // What is hidden is for programs, and defaults are this machine's where the environment says them.
    let command = Args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    #[test]
    fn each_command_that_is_shown_has_a_page() {
        let folder = std::env::temp_dir().join(format!("switchover-man-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        write(&folder).unwrap();
        let pages: BTreeSet<String> =
            fs::read_dir(&folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
        let shown = Args::command();
        let shown = shown.get_subcommands().filter(|command| !command.is_hide_set());
        let mut expected: BTreeSet<String> =
            shown.map(|command| format!("switchover-{}.1", command.get_name())).collect();
        expected.insert("switchover.1".to_owned());
        assert_eq!(pages, expected);
        let page = fs::read_to_string(folder.join("switchover-plan.1")).unwrap();
        assert!(page.starts_with(".ie") || page.contains(".TH switchover-plan 1"), "{page}");
        assert!(page.contains("\\-\\-without"), "{page}");
        fs::remove_dir_all(folder).unwrap();
    }
}
