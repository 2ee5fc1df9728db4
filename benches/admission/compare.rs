//! The comparisons, one after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use lab::measured::median;
use serde_json::Value;
use switchover::{admission, certificates::authority};

use crate::{
    allocations,
    load::Measured,
    ours, peer,
    process::{Files, Round, Server, What},
    report::{Figure, Goal, Report},
    reviews::review,
};

/// How long and how often.
struct Effort {
    rounds: usize,
    round: Round,
}

struct Bench {
    directory: PathBuf,
    files: Files,
    small: PathBuf,
    large: PathBuf,
    effort: Effort,
}

/// One round of each of two servers.
type Pair = (Measured, Measured);

pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let bench = Bench::set_up(quick)?;
    let mut report = Report::new(quick);
    let ours = bench.start(What::Ours, &[])?;
    let floor = bench.start(What::Floor, &[])?;
    bench.check(&ours)?;

    let small = bench.alternate("the floor, 10 kB", &ours, &floor, &bench.small, None)?;
    report.add(
        Figure::of("admission.floor_10k", Goal::AtLeast(0.9), &small, |m| m.rate)
            .told("Rate on a 10 kB review, of the floor's"),
    );
    report.add(
        Figure::of("admission.floor_10k_cpu", Goal::None, &small, Measured::cpu_us_per_request)
            .told("CPU time per request on a 10 kB review, of the floor's"),
    );
    let large = bench.alternate("the floor, 100 kB", &ours, &floor, &bench.large, None)?;
    report.add(
        Figure::of("admission.floor_100k", Goal::AtLeast(0.9), &large, |m| m.rate)
            .told("Rate on a 100 kB review, of the floor's"),
    );
    report.add(
        Figure::of("admission.floor_100k_cpu", Goal::None, &large, Measured::cpu_us_per_request)
            .told("CPU time per request on a 100 kB review, of the floor's"),
    );

    let half = median(small.iter().map(|(ours, _)| ours.rate)) / 2.0;
    let steady = bench.alternate("the floor at half of the rate", &ours, &floor, &bench.small, Some(half))?;
    report.add(
        Figure::of("admission.p99_to_floor", Goal::AtMost(1.5), &steady, |m| m.p99_us)
            .told("p99 latency at half of the greatest rate, of the floor's at the same rate"),
    );
    report.add(Figure::of("admission.p50_to_floor", Goal::None, &steady, |m| m.p50_us).told("p50 latency, likewise"));
    drop(floor);

    let many = bench.start(What::Ours, &["--namespaces", "10000", "--databases", "50"])?;
    // From all over the table, but of the same database, so that the answers have the same size.
    let spread = bench.write("spread.jsonl", 100, 10_000, |n| ours::namespace(n * 50))?;
    let cached = bench.alternate_with("ten namespaces", (&many, &spread), (&ours, &bench.small), None)?;
    report.add(
        Figure::of("admission.cache_10k", Goal::AtLeast(0.95), &cached, |m| m.rate)
            .told("Rate with 10,000 namespaces and 50 databases in memory, of the rate with ten and one"),
    );
    report.add(
        Figure::of("admission.cache_10k_cpu", Goal::None, &cached, Measured::cpu_us_per_request)
            .told("CPU time per request, likewise"),
    );
    drop(many);

    match peer::build(&bench.directory) {
        Ok(program) => bench.peer(&ours, &program, &mut report)?,
        Err(error) => report.note(format!("The peer was not measured: {error:#}")),
    }
    drop(ours);
    bench.allocations(&mut report)?;
    report.write()
}

impl Bench {
    fn set_up(quick: bool) -> anyhow::Result<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        let certificates = directory.join("certificates");
        fs::create_dir_all(&certificates).with_context(|| certificates.display().to_string())?;
        let made = authority::generate("switchover-webhook", "switchover-system", Duration::from_secs(864_000))?;
        fs::write(certificates.join("tls.crt"), &made.certificate_pem)?;
        fs::write(certificates.join("tls.key"), &made.key_pem)?;
        let authority = certificates.join("ca.crt");
        fs::write(&authority, &made.ca_pem)?;
        let effort = if quick {
            Effort { rounds: 3, round: Round { warm_up_ms: 200, measure_ms: 500, rate: None } }
        } else {
            Effort { rounds: 15, round: Round { warm_up_ms: 200, measure_ms: 1_000, rate: None } }
        };
        let mut bench = Self {
            directory,
            files: Files { certificates, authority },
            small: PathBuf::new(),
            large: PathBuf::new(),
            effort,
        };
        bench.small = bench.write("10k.jsonl", 100, 10_000, |n| ours::namespace(n % 10))?;
        bench.large = bench.write("100k.jsonl", 20, 100_000, |n| ours::namespace(n % 10))?;
        Ok(bench)
    }

    fn write(
        &self,
        name: &str,
        number: usize,
        bytes: usize,
        namespace: impl Fn(usize) -> String,
    ) -> anyhow::Result<PathBuf> {
        let lines: Vec<String> = (0..number).map(|n| review(&namespace(n), n, bytes)).collect();
        let size = lines[0].len();
        ensure!(size.abs_diff(bytes) * 20 < bytes, "{name}: a review has {size} bytes and not about {bytes}");
        let path = self.directory.join(name);
        fs::write(&path, lines.join("\n"))?;
        Ok(path)
    }

    fn start(&self, what: What, more: &[&str]) -> anyhow::Result<Server> {
        Server::start(what, &self.files.certificates, more)
    }

    /// One answer, and what it makes of the pod: affinity and annotations.
    fn patched(&self, server: &Server) -> anyhow::Result<(Value, Value)> {
        let round = Round { warm_up_ms: 100, measure_ms: 300, rate: None };
        let measured = server.load(&self.files, &self.small, round)?;
        let answer: Value = serde_json::from_str(&measured.answer).with_context(|| measured.answer.clone())?;
        let sent = review(&ours::namespace(0), 0, 10_000);
        let sent: Value = serde_json::from_str(&sent)?;
        let (request, response) = (&sent["request"], &answer["response"]);
        ensure!(response["uid"] == request["uid"] && response["allowed"] == true, "{answer}");
        let patch = STANDARD.decode(response["patch"].as_str().context("no patch")?)?;
        let patch: json_patch::Patch = serde_json::from_slice(&patch)?;
        let mut pod = request["object"].clone();
        json_patch::patch(&mut pod, &patch)?;
        Ok((pod["spec"]["affinity"].clone(), pod["metadata"]["annotations"].clone()))
    }

    fn check(&self, server: &Server) -> anyhow::Result<()> {
        let (affinity, annotations) = self.patched(server)?;
        ensure!(affinity["nodeAffinity"].is_object(), "nothing was injected: {affinity}");
        ensure!(annotations["switchover.dev/injected"].is_string(), "nothing was recorded: {annotations}");
        Ok(())
    }

    fn alternate(
        &self,
        name: &str,
        ours: &Server,
        other: &Server,
        reviews: &Path,
        rate: Option<f64>,
    ) -> anyhow::Result<Vec<Pair>> {
        self.alternate_with(name, (ours, reviews), (other, reviews), rate)
    }

    /// Rounds of two servers in turn; which one begins changes each time.
    fn alternate_with(
        &self,
        name: &str,
        one: (&Server, &Path),
        other: (&Server, &Path),
        rate: Option<f64>,
    ) -> anyhow::Result<Vec<Pair>> {
        println!("ours beside {name}");
        let round = Round { rate, ..self.effort.round };
        let load = |(server, reviews): (&Server, &Path)| server.load(&self.files, reviews, round);
        let mut pairs = Vec::new();
        for n in 0..self.effort.rounds {
            let pair = if n % 2 == 0 {
                let first = load(one)?;
                (first, load(other)?)
            } else {
                let first = load(other)?;
                (load(one)?, first)
            };
            let told = |m: &Measured| {
                format!(
                    "{:.0}/s {:.1} µs CPU, p50 {:.0} p99 {:.0} µs, CPU {:.0} %",
                    m.rate,
                    m.cpu_us_per_request(),
                    m.p50_us,
                    m.p99_us,
                    m.cpu_s / m.seconds * 100.0
                )
            };
            println!("  {} | {}", told(&pair.0), told(&pair.1));
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn peer(&self, ours: &Server, program: &Path, report: &mut Report) -> anyhow::Result<()> {
        let peer = Server::start_other(program, &self.files.certificates)?;
        let (mine, theirs) = (self.patched(ours)?, self.patched(&peer)?);
        ensure!(mine == theirs, "the peer injects something else: {theirs:?} and not {mine:?}");
        let pairs = self.alternate("controller-runtime, 10 kB", ours, &peer, &self.small, None)?;
        report.add(
            Figure::of("admission.controller_runtime", Goal::AtLeast(20.0), &pairs, |m| m.rate)
                .told("Rate on a 10 kB review, of controller-runtime's"),
        );
        let cpu = Figure::of("admission.controller_runtime_cpu", Goal::AtMost(1.0 / 15.0), &pairs, |m| {
            m.cpu_us_per_request()
        });
        report.add(cpu.told("CPU time per request, of controller-runtime's"));
        let memory = (ours.resident_bytes()? as f64, peer.resident_bytes()? as f64);
        report.add(
            Figure::once("admission.controller_runtime_memory", Goal::AtMost(0.5), memory)
                .told("Resident memory after the same load, of controller-runtime's"),
        );
        Ok(())
    }

    fn allocations(&self, report: &mut Report) -> anyhow::Result<()> {
        println!("allocations");
        let count = |what, reviews: &Path| -> anyhow::Result<f64> {
            let mut server = self.start(what, &["--count"])?;
            // What only the first requests need is not counted.
            server.load(&self.files, reviews, self.effort.round)?;
            let before = server.allocations()?;
            let measured = server.load(&self.files, reviews, self.effort.round)?;
            Ok((server.allocations()? - before) as f64 / measured.requests_in_all as f64)
        };
        let small = (count(What::Ours, &self.small)?, count(What::Floor, &self.small)?);
        report.add(
            Figure::counted("admission.allocations", small).told("Allocations per 10 kB request, and the floor's"),
        );
        let large = (count(What::Ours, &self.large)?, count(What::Floor, &self.large)?);
        report.add(
            Figure::counted("admission.allocations_100k", large)
                .told("Allocations per 100 kB request, and the floor's"),
        );
        let view = ours::view(10, 1);
        allocations::begin();
        let decided = |bytes| {
            let review = review(&ours::namespace(0), 0, bytes);
            let before = allocations::count();
            let answer = admission::review(review.as_bytes(), &view, Instant::now());
            let count = allocations::count() - before;
            drop(answer);
            count as f64
        };
        // The first of its kind writes its patch, the others find it written.
        decided(10_000);
        report.add(
            Figure::counted("admission.allocations_decision", (decided(100_000), decided(10_000)))
                .told("Allocations from a complete 100 kB body to its answer, and from a 10 kB one"),
        );
        Ok(())
    }
}
