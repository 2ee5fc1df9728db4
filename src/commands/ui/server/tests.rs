use kube::{Client, Config};
use reqwest::{Method as Verb, StatusCode as Code};
use tokio::task::JoinSet;

use super::*;
use crate::{core::schedulers::Schedulers, serve};

/// A page over an API server that refuses every connection.
struct Stage {
    base: String,
    port: u16,
    shutdown: CancellationToken,
    _tasks: JoinSet<()>,
}

async fn stage() -> Stage {
    crate::tls::install_provider();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::try_from(Config::new(format!("http://{closed}").parse().unwrap())).unwrap();
    let mut tasks = JoinSet::new();
    let schedulers = Schedulers::new(vec!["default-scheduler".to_owned()]);
    let watched = Watched::spawn(&client, schedulers, "switchover-system".into(), &mut tasks);
    let listener = serve::listen_locally(0).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shutdown = CancellationToken::new();
    let shared = Arc::new(Shared { watched, port, shutdown: shutdown.clone() });
    drop(serve::serve_page(listener, router(shared, "secret"), shutdown.clone()));
    Stage { base: format!("http://127.0.0.1:{port}"), port, shutdown, _tasks: tasks }
}

#[tokio::test]
async fn only_who_knows_the_address_and_names_this_host_gets_an_answer_and_nothing_is_changed() {
    let stage = stage().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (port, wrong) = (stage.port, "evil.example".to_owned());
    let rows = [
        (Verb::GET, "/secret/", format!("127.0.0.1:{port}"), Code::OK),
        (Verb::GET, "/secret/page.js", format!("LOCALHOST:{port}"), Code::OK),
        (Verb::GET, "/secret/", format!("evil.example:{port}"), Code::MISDIRECTED_REQUEST),
        (Verb::GET, "/secret/state", wrong, Code::MISDIRECTED_REQUEST),
        (Verb::GET, "/secret/state", "127.0.0.1".to_owned(), Code::MISDIRECTED_REQUEST),
        (Verb::POST, "/secret/state", format!("127.0.0.1:{port}"), Code::METHOD_NOT_ALLOWED),
        (Verb::GET, "/", format!("127.0.0.1:{port}"), Code::NOT_FOUND),
        (Verb::GET, "/other/state", format!("127.0.0.1:{port}"), Code::NOT_FOUND),
    ];
    for (verb, path, host, expected) in rows {
        let answer =
            http.request(verb.clone(), format!("{}{path}", stage.base)).header("host", &host).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{verb} {path} of {host}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn the_events_tell_what_can_not_be_read_and_end_with_the_program() {
    let stage = stage().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut stream = http.get(format!("{}/secret/events?database=a%26b", stage.base)).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut told = String::new();
    while !told.contains("Connection refused") {
        told.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().expect("it goes on")).unwrap());
    }
    assert!(told.starts_with("event: state\ndata: {\"unseen\":["), "{told}");
    stage.shutdown.cancel();
    while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
}

#[test]
fn the_files_load_nothing_from_elsewhere_and_write_no_markup() {
    for (name, _, text) in FILES {
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http:") && !foreign.contains("https:") && !foreign.contains("//cdn"), "{name}");
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick"] {
            assert!(!text.contains(word), "{name}: {word}");
        }
    }
}
