//! `switchover witness`: what was typed and what it means.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args as ClapArgs;

use super::{HealthArgs, base_url, between};
use crate::{
    api::Span,
    credentials::Files,
    witness::{WitnessConfig, limits},
};

const NO_CLIENT_CA: &str = "a witness answers only those who show a certificate: write --client-ca FILE, with the authority \
                            that signed the controllers' client certificate";

#[derive(Debug, Clone, ClapArgs)]
pub struct WitnessArgs {
    #[command(flatten)]
    pub health: HealthArgs,

    /// Address for GET /v1/databases/NAME (HTTPS)
    #[arg(long, env = "SWITCHOVER_LISTEN", default_value = "[::]:8444")]
    pub listen: SocketAddr,

    /// Serving certificate, PEM; read again when it changes
    #[arg(long, env = "SWITCHOVER_TLS_CERT", value_name = "FILE", default_value = "/etc/switchover/tls/tls.crt")]
    pub tls_cert: PathBuf,

    /// Key of the serving certificate, PEM
    #[arg(long, env = "SWITCHOVER_TLS_KEY", value_name = "FILE", default_value = "/etc/switchover/tls/tls.key")]
    pub tls_key: PathBuf,

    /// Answer only clients with a certificate of one of these authorities, PEM; read again when it changes. There is no
    /// witness without it
    #[arg(long, env = "SWITCHOVER_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// Answer only clients that bear one of these names, as common name or alternative name (default: any)
    #[arg(long, env = "SWITCHOVER_CLIENT_NAME", value_name = "NAME", value_delimiter = ',')]
    pub client_name: Vec<String>,

    /// A database: its name, and base URLs of members to start from; further members are found from their answers. May be
    /// repeated; in the variable databases are separated by semicolons
    #[arg(long = "database", env = "SWITCHOVER_DATABASE", value_name = "NAME=URL[,URL…]", value_parser = database)]
    #[arg(value_delimiter = ';', required = true)]
    pub databases: Vec<Named>,

    /// Authorities to trust for Patroni over TLS instead of this machine's root certificates, PEM; read again when it changes
    #[arg(long, env = "SWITCHOVER_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// A client certificate to show to Patroni, PEM; read again when it changes
    #[arg(long, env = "SWITCHOVER_CERT_FILE", value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,

    /// The key of --cert-file, PEM
    #[arg(long, env = "SWITCHOVER_KEY_FILE", value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,

    /// The name that the members' certificates carry, if it isn't the host of their URLs
    #[arg(long, env = "SWITCHOVER_SERVER_NAME", value_name = "NAME")]
    pub server_name: Option<String>,

    /// Pause between two looks at one member
    #[arg(long, env = "SWITCHOVER_INTERVAL", default_value = "1s")]
    #[arg(value_parser = between(Span::from_millis(200), Span::from_secs(60)))]
    pub interval: Span,

    /// Time allowed for one answer of a member
    #[arg(long, env = "SWITCHOVER_TIMEOUT", default_value = "1500ms")]
    #[arg(value_parser = between(Span::from_millis(100), Span::from_secs(10)))]
    pub timeout: Span,
}

/// A database and where to begin to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub urls: Vec<String>,
}

fn database(text: &str) -> Result<Named, String> {
    let wrong = || "write a name and base URLs, such as orders=http://10.0.1.5:8008,http://10.0.2.5:8008".to_owned();
    let (name, urls) = text.split_once('=').ok_or_else(wrong)?;
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(letters) {
        return Err(wrong());
    }
    let urls = urls.split(',').map(base_url).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok(Named { name: name.to_owned(), urls })
}

impl WitnessArgs {
    /// What was typed means this.
    ///
    /// # Errors
    /// Whoever reaches the port would be answered, or one name stands for two databases.
    pub fn config(self) -> Result<WitnessConfig, String> {
        let client_authorities = self.client_ca.ok_or(NO_CLIENT_CA)?;
        let mut databases = BTreeMap::new();
        for Named { name, urls } in self.databases {
            if databases.insert(name.clone(), urls).is_some() {
                return Err(format!("--database {name} is there twice: write its URLs into one, separated by commas"));
            }
        }
        Ok(WitnessConfig {
            listen: self.listen,
            metrics_listen: self.health.metrics_listen,
            certificate_file: self.tls_cert,
            key_file: self.tls_key,
            client_authorities,
            // An empty variable is none.
            client_names: self.client_name.into_iter().filter(|name| !name.is_empty()).collect(),
            databases,
            files: Files {
                authorities: self.ca_file,
                certificate: self.cert_file,
                key: self.key_file,
                server_name: self.server_name,
            },
            interval: self.interval.0,
            timeout: self.timeout.0,
            certificate_poll: Duration::from_secs(1),
            limits: limits(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Args, Command};
    use clap::Parser;
    use lab::table::check_rows;

    fn config(arguments: &[&str]) -> Result<WitnessConfig, String> {
        let args = Args::try_parse_from([&["switchover", "witness"], arguments].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Witness(args) => args.config(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_witness_wants_databases_and_the_authority_of_its_clients() {
        let one = "--database=orders=http://10.0.1.5:8008,https://pg2.example.com";
        let made = config(&[one, "--database", "stock=http://10.0.3.5:8008", "--client-ca=ca.crt"]).unwrap();
        let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("orders".to_owned(), urls(&["http://10.0.1.5:8008", "https://pg2.example.com:443"])),
            ("stock".to_owned(), urls(&["http://10.0.3.5:8008"])),
        ];
        assert_eq!(made.databases, expected.into());

        let rows = [
            (&[one][..], "a witness answers only those who show a certificate: write --client-ca FILE"),
            (&[one, one, "--client-ca=x"], "--database orders is there twice"),
            (&["--client-ca=x"], "--database"),
            (
                &["--database=orders", "--client-ca=x"],
                "write a name and base URLs, such as orders=http://10.0.1.5:8008",
            ),
            (&["--database=a/b=http://x:1", "--client-ca=x"], "write a name and base URLs"),
            (&["--database=orders=ftp://x", "--client-ca=x"], "write a name and base URLs"),
        ];
        check_rows(rows, |(arguments, expected)| {
            let error = config(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        });
    }
}
