//! What a replica shows of its certificate to whoever asks beside its health.

use axum::http::Request;

use super::super::*;
use crate::certificates::{authority, served::Chain};

#[tokio::test]
async fn a_replica_shows_the_certificate_that_it_serves_and_not_its_key() {
    let made = authority::generate("switchover-webhook", "switchover-system", Duration::from_secs(3600)).unwrap();
    let directory = std::env::temp_dir().join(format!("switchover-shown-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (certificate_file, key_file) = (directory.join("tls.crt"), directory.join("tls.key"));
    let certificate = Arc::new(CertificateFiles::new(&certificate_file, &key_file));
    let client = Client::new(shown(Arc::clone(&certificate)), "default");
    let ask = async || client.request_text(Request::get(CERTIFICATE).body(Vec::new()).unwrap()).await;

    assert!(ask().await.is_err(), "nothing is served yet");
    std::fs::write(&certificate_file, &made.certificate_pem).unwrap();
    std::fs::write(&key_file, &made.key_pem).unwrap();
    certificate.reload();
    let told = ask().await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(Chain::read(told.as_bytes()), Chain::read(made.certificate_pem.as_bytes()));
    assert!(!told.contains("KEY"), "{told}");
}
