//! `switchover crds`: the CustomResourceDefinitions.

use std::io::{self, Write};

use crate::{
    api,
    cli::{Manifest, OutputArgs},
    process::Failure,
};

/// Prints them.
///
/// # Errors
/// They can't be written down, or nobody takes them.
pub fn run(args: &OutputArgs) -> Result<(), Failure> {
    let definitions = api::custom_resource_definitions();
    let mut out = io::stdout().lock();
    match args.output {
        Manifest::Yaml => out.write_all(api::definitions_as_yaml()?.as_bytes())?,
        Manifest::Json => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": definitions });
            serde_json::to_writer_pretty(&mut out, &list)?;
            writeln!(out)?;
        }
    }
    Ok(())
}
