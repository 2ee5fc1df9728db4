//! Tables for people.

use anyhow::Result;
use lab::{
    Lab,
    control::Severed,
    patroni::{self, MemberState},
    process::Power,
    wan,
};

/// The whole lab on one screen.
pub(super) fn status(lab: &Lab, json: bool) -> Result<()> {
    let status = lab.status()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    println!("up for {} s, state {}", status.uptime_s, lab.state().display());
    println!("kubeconfig {}\n", lab.kubeconfig().display());
    println!("{:<6} {:<5} {:<12} {:<6} {:<8} CABLE", "NODE", "SITE", "ADDRESS", "POWER", "KUBELET");
    for node in &status.nodes {
        let cable = if node.cut { "pulled" } else { "plugged" };
        // Padding works on strings only.
        let (site, address) = (node.site.to_string(), node.address.to_string());
        println!(
            "{:<6} {site:<5} {address:<12} {:<6} {:<8} {cable}",
            node.name,
            power(node.power),
            power(node.kubelet)
        );
    }
    println!("\n{:<25} POWER", "PROCESS");
    for (name, on) in &status.processes {
        println!("{name:<25} {}", power(*on));
    }
    println!();
    links(lab)?;
    if !status.members.is_empty() {
        println!();
        members(&status.members);
    }
    Ok(())
}

/// The links between the sites, and what is cut off beside.
pub(super) fn links(lab: &Lab) -> Result<()> {
    println!("{}", wan::table_header());
    lab.links()?.iter().for_each(|link| println!("{link}"));
    lab.severed()?.iter().for_each(|Severed { host, site }| println!("{host} is cut off {site}"));
    Ok(())
}

/// The members of the database.
pub(super) fn members(members: &[MemberState]) {
    println!("{}", patroni::table_header());
    members.iter().for_each(|member| println!("{member}"));
}

fn power(power: Power) -> &'static str {
    match power {
        Power::On => "on",
        Power::Off => "off",
    }
}
