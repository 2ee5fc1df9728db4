//! The command line.

use std::{
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use lab::{
    Lab, Options,
    control::SiteAction,
    control_plane::Component,
    demo::{self, DemoOptions},
    image::Image,
    install::{self, Product},
    light::LightBed,
    machine, measured,
    prepare::{self, Scope},
    reactions::{self, ReactionOptions},
    reviews,
    site::Site,
    supervisor,
    tools::{self, Cache},
    two::{self, TwoOptions},
};

mod interrupt;
mod show;
mod verbs;

use verbs::{NodeVerb, PatroniVerb, ProcessVerb};

/// The test beds of switchover: a real Kubernetes over three emulated data centres with a real Patroni.
///
/// Build the tools once with `lab prepare`, then `lab up`. Everything runs in namespaces of its own and is gone after
/// `lab down`.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
pub(crate) struct Args {
    /// Directory of the lab's logs, disks and sockets
    #[arg(long, global = true, env = "SWITCHOVER_LAB_STATE", default_value_os_t = lab::lab::default_state())]
    state: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build and fetch the tools into the cache: about 10 minutes the first time, then instant
    Prepare {
        /// Only what the light bed needs; works without root
        #[arg(long)]
        light: bool,
    },
    /// Start the lab: control plane, nodes in three data centres, WAN, Patroni
    Up {
        /// Number of nodes, spread over the data centres
        #[arg(long, default_value_t = 6)]
        nodes: usize,
        /// Image archive to import into every node (repeatable)
        #[arg(long = "image", value_name = "FILE")]
        images: Vec<PathBuf>,
        /// Leave Patroni out
        #[arg(long)]
        no_patroni: bool,
        /// Two data centres with a control plane each and two nodes each, over Kine and a Patroni of its own
        #[arg(long, conflicts_with_all = ["nodes", "no_patroni"])]
        two: bool,
        /// With --two: commits under Kubernetes don't wait for the replica, so that a failover may lose the last of them
        #[arg(long, requires = "two")]
        asynchronous: bool,
    },
    /// End the lab and remove everything of it but its logs
    Down {
        /// Only when standard input ends: for whoever wants the lab to end with itself, however that happens
        #[arg(long, hide = true)]
        after_input: bool,
    },
    /// Show nodes, processes, database members and links
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Open a shell inside the lab, with kubectl, helm, switchover and lab
    Shell {
        /// Host to be on, e.g. cp, n1, pg2, client, r-dc1
        #[arg(long = "in", value_name = "HOST", default_value = supervisor::CONTROL_PLANE_HOST)]
        host: String,
    },
    /// Run a command inside the lab
    Exec {
        /// Host to be on, e.g. cp, n1, pg2, client, r-dc1
        #[arg(long = "in", value_name = "HOST", default_value = supervisor::CONTROL_PLANE_HOST)]
        host: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Run kubectl against the lab, as administrator
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Do something to a node
    Node {
        /// n1, n2 …
        name: String,
        action: NodeVerb,
    },
    /// Do something to a process of the control plane
    Process {
        /// etcd, kube-apiserver, kube-controller-manager or kube-scheduler
        name: Component,
        action: ProcessVerb,
    },
    /// Show the links between the sites, or change one
    ///
    /// Examples: `lab wan dc1 dc2 20ms`, `lab wan dc1 dc3 20ms jitter 2ms`, `lab wan dc1 dc2 loss 5%`,
    /// `lab wan dc1 dc3 cut`, `lab wan dc1 dc3 heal`. Times are round trips. A host alone can be cut off a site, and joined
    /// again: `lab wan pg1 dc2 cut`, `lab wan pg1 dc2 heal`.
    Wan {
        /// cp, dc1, dc2 or dc3; or a host
        a: Option<String>,
        #[arg(requires = "change")]
        /// The other site, or the same one for the distances inside it
        b: Option<Site>,
        /// 20ms, 20ms jitter 2ms, loss 5%, cut or heal
        change: Vec<String>,
    },
    /// Cut the power of a whole data centre, or of the witness's site (cp), or bring it back; for a lab with two data centres
    Site {
        /// dc1, dc2 or cp
        site: Site,
        action: SiteAction,
    },
    /// Do something to the database cluster
    #[command(subcommand)]
    Patroni(PatroniVerb),
    /// Pack programs into an image archive, without a container builder
    Image {
        /// A program, dynamically linked to glibc or static; the first one is what the image runs
        #[arg(long = "binary", value_name = "FILE", required = true)]
        binaries: Vec<PathBuf>,
        /// The image's name, HOST/NAME:TAG
        #[arg(long)]
        name: String,
        /// Where to write the archive
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the manifest of the demo service, which follows the database `default`, for kubectl apply -f -
    Shop,
    /// Import an image archive into every running node
    LoadImage {
        /// As `lab image` or `docker save` writes it
        file: PathBuf,
    },
    /// Start the light bed (control plane and fake nodes on loopback) until Ctrl-C
    Light,
    /// Write a section of docs/performance.md from standard input
    Section {
        /// What its two marks name
        name: String,
    },
    /// Record the AdmissionReviews that a real API server sends about pods of every kind: about 70 s, on a light bed
    Reviews {
        /// Directory of the recordings
        #[arg(long, value_name = "DIRECTORY", default_value = "tests/fixtures/reviews")]
        out: PathBuf,
    },
    /// Show a service following its database's primary through a switchover and a crash, with figures
    Demo {
        /// Leave the lab up afterwards
        #[arg(long)]
        keep: bool,
        /// Image archive of switchover and of the demo service (both)
        #[arg(long = "image", value_name = "FILE", required = true)]
        images: Vec<PathBuf>,
        /// The `switchover` program
        #[arg(long, value_name = "FILE", default_value_os_t = Product::of_workspace().program)]
        program: PathBuf,
        /// Where the figures go
        #[arg(long, value_name = "FILE", default_value_os_t = lab::target_directory().join("demo/report.json"))]
        out: PathBuf,
    },
    /// Show two data centres, over Kine and nothing else, that fall, come back and lose sight of each other, with figures
    DemoTwo {
        /// Leave the lab up afterwards
        #[arg(long)]
        keep: bool,
        /// Let commits under Kubernetes not wait for the replica, so that a failover may lose the last of them
        #[arg(long)]
        asynchronous: bool,
        /// Scenes to play, as docs/two-data-centres.md numbers them; 5 to 9 are those of `make test-two`, which take longer
        #[arg(long = "scene", value_name = "NUMBER", default_values_t = two::SHOWN)]
        scenes: Vec<u8>,
        /// Image archive of switchover and of the demo service (both)
        #[arg(long = "image", value_name = "FILE", required = true)]
        images: Vec<PathBuf>,
        /// The `switchover` program
        #[arg(long, value_name = "FILE", default_value_os_t = Product::of_workspace().program)]
        program: PathBuf,
        /// Where the figures go
        #[arg(long, value_name = "FILE", default_value_os_t = lab::target_directory().join("demo/two-centres.json"))]
        out: PathBuf,
    },
    /// Measure how soon switchover knows a new primary and labels the nodes, over switchovers and kills
    Reactions {
        /// Number of switchovers, and of kills
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Image archive of switchover (and others)
        #[arg(long = "image", value_name = "FILE", required = true)]
        images: Vec<PathBuf>,
    },
    /// The lab's own process (internal)
    #[command(hide = true)]
    Supervise { settings: PathBuf },
    /// A node's own process (internal)
    #[command(hide = true)]
    Machine { settings: PathBuf },
}

/// Does what was asked for.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let state = args.state;
    match args.verb {
        Verb::Supervise { settings } => supervisor::run(&settings)?,
        Verb::Machine { settings } => machine::init::run(&settings)?,
        Verb::Prepare { light } => prepare_all(light)?,
        Verb::Up { images, two: true, asynchronous, .. } => {
            return up(&Options { state, images, ..Options::two(!asynchronous) });
        }
        Verb::Up { nodes, images, no_patroni, .. } => {
            return up(&Options { state, nodes, images, patroni: !no_patroni, two: None });
        }
        Verb::Site { site, action } => Lab::attach(&state)?.site(site, action)?,
        Verb::Down { after_input } => {
            if after_input {
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
            }
            let start = Instant::now();
            let was_up = Lab::attach(&state).is_ok();
            Lab::down(&state)?;
            match was_up {
                true => println!(
                    "the lab is down ({:.1} s); its logs are in {}",
                    start.elapsed().as_secs_f64(),
                    state.display()
                ),
                false => println!("no lab was running with the state directory {}", state.display()),
            }
        }
        Verb::Status { json } => show::status(&Lab::attach(&state)?, json)?,
        Verb::Shell { host } => {
            let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/bash".to_owned());
            return exec(Lab::attach(&state)?.shell(&host, &shell)?);
        }
        Verb::Exec { host, command } => {
            let mut inside = Lab::attach(&state)?.command(&host, &command[0])?;
            inside.args(&command[1..]);
            return exec(inside);
        }
        Verb::Kubectl { arguments } => {
            let mut kubectl = Command::new(tools::kubectl()?);
            kubectl.args(arguments).env("KUBECONFIG", Lab::attach(&state)?.kubeconfig());
            return exec(kubectl);
        }
        Verb::Node { name, action } => Lab::attach(&state)?.node(&name, action.into())?,
        Verb::Process { name, action } => Lab::attach(&state)?.process(name, action.into())?,
        Verb::Wan { a: Some(a), b: Some(b), change } => change_link(&Lab::attach(&state)?, &a, b, &change.join(" "))?,
        Verb::Wan { a, .. } => {
            ensure!(a.is_none(), "name two sites and a change, for example `lab wan dc1 dc2 20ms`");
            show::links(&Lab::attach(&state)?)?;
        }
        Verb::Patroni(PatroniVerb::List) => show::members(&Lab::attach(&state)?.members()?),
        Verb::Patroni(PatroniVerb::Url) => println!("{}", Lab::attach(&state)?.database_url()?),
        Verb::Patroni(PatroniVerb::Switchover { to }) => {
            let done = Lab::attach(&state)?.switchover(to.as_deref())?;
            println!("the primary moved from {} to {} ({} ms)", done.from, done.to, done.took_ms);
        }
        Verb::Patroni(verb) => drop(Lab::attach(&state)?.patroni(verb.into())?),
        Verb::Image { binaries, name, out } => {
            let cache = Cache::from_environment()?;
            cache.require(&[cache.base_layer()])?;
            Image::of_programs(&cache.base_layer(), &binaries, &name)?.write(&out)?;
            println!("{name} is in {}", out.display());
        }
        Verb::Shop => print!("{}", install::shop_manifest(&Lab::attach(&state)?)?),
        Verb::LoadImage { file } => Lab::attach(&state)?.load_image(&file)?,
        Verb::Light => light()?,
        Verb::Section { name } => measured::write_section(&name, &io::read_to_string(io::stdin())?)?,
        Verb::Reviews { out } => {
            let count = reviews::record(&out)?;
            println!("{count} reviews are in {}", out.display());
        }
        Verb::Demo { keep, images, program, out } => {
            interrupt::clean_up_on_interrupt(state.clone())?;
            let lab = Options { state, images, ..Options::default() };
            demo::run(&DemoOptions { lab, product: Product { program, ..Product::of_workspace() }, out, keep })?;
        }
        Verb::DemoTwo { keep, asynchronous, scenes, images, program, out } => {
            interrupt::clean_up_on_interrupt(state.clone())?;
            let lab = Options { state, images, ..Options::two(!asynchronous) };
            two::run(&TwoOptions { lab, scenes, product: Product { program, ..Product::of_workspace() }, out, keep })?;
        }
        Verb::Reactions { rounds, images } => {
            let state = reactions::state();
            interrupt::clean_up_on_interrupt(state.clone())?;
            let lab = Options { state, images, ..Options::default() };
            reactions::run(&ReactionOptions { lab, product: Product::of_workspace(), rounds })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change_link(lab: &Lab, a: &str, b: Site, change: &str) -> Result<()> {
    match (a.parse::<Site>(), change) {
        (Ok(a), _) => lab.wan(a, b, change),
        (Err(_), "cut" | "heal") => lab.sever(a, b, change == "cut"),
        (Err(_), _) => bail!("{a} is no site, and a host can only be `cut` off {b}, or `heal`ed: write one of these"),
    }
}

fn prepare_all(light: bool) -> Result<()> {
    let start = Instant::now();
    let cache = Cache::from_environment()?;
    let scope = if light { Scope::Light } else { Scope::Lab };
    prepare::prepare(&cache, scope, &|line| println!("{line}"))?;
    println!("the lab's tools are in {} ({:.1} s)", cache.directory.display(), start.elapsed().as_secs_f64());
    Ok(())
}

fn up(options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    interrupt::clean_up_on_interrupt(options.state.clone())?;
    let lab = Lab::up(options, &|line| println!("{line}"))?;
    println!("the lab is up ({:.1} s)", start.elapsed().as_secs_f64());
    println!("  export KUBECONFIG={}", lab.kubeconfig().display());
    println!("  `lab status` shows it, `lab shell` goes inside, `lab down` ends it");
    Ok(ExitCode::SUCCESS)
}

fn light() -> Result<()> {
    let start = Instant::now();
    let bed = LightBed::start()?;
    println!("the light bed is up ({:.1} s); Ctrl-C ends it", start.elapsed().as_secs_f64());
    println!("  export KUBECONFIG={}", bed.kubeconfig().display());
    interrupt::wait()?;
    drop(bed);
    Ok(())
}

/// Becomes another program; returns only when that fails.
fn exec(mut command: Command) -> Result<ExitCode> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}
