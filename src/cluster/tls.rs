//! TLS: which certificates are believed, and of which node. What is said over the connection is none of its business.
//!
//! The driver asks for certificates by the node's IP address alone, which few carry. So the names are checked here: a
//! node is believed that proves a name or address which the user has typed, or the address by which a cluster that was
//! believed before has told of it. Chains are checked by rustls's own webpki. The authorities of this machine come from
//! `rustls-native-certs`, which is rustls's own too; its `rustls-platform-verifier` reads the same files on Linux, but
//! checks chain and name in one, and always by the name the driver gives.

use crate::error::{Context, Error, Result};
use crate::report;
use crate::types::civil;
use async_trait::async_trait;
use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore, SignatureScheme,
};
use scylla::errors::TranslationError;
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether and how connections are encrypted.
#[derive(Args, Clone)]
pub struct TlsArgs {
    /// Encrypt, and believe nodes whose certificates this machine's authorities have signed; any --tls-… turns it on
    #[arg(long, env = "CQLIFT_TLS")]
    pub tls: bool,
    /// Believe the authorities of this file instead, or a node's own certificate; PEM
    #[arg(long, env = "CQLIFT_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate by which this client proves who it is, those that signed it behind it; PEM
    #[arg(long, env = "CQLIFT_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, not encrypted; PEM [default: the file of --tls-cert]
    #[arg(long, env = "CQLIFT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Names or addresses of which nodes must prove one; without it, those of -h, or the one the cluster tells of a node
    #[arg(long, env = "CQLIFT_TLS_NAME", value_name = "NAME", value_delimiter = ',')]
    pub tls_name: Vec<String>,
    /// Believe any certificate that --tls-ca has signed, whatever name it carries
    #[arg(long, env = "CQLIFT_TLS_SKIP_HOSTNAME", requires = "tls_ca", conflicts_with = "tls_name")]
    pub tls_skip_hostname: bool,
}

impl TlsArgs {
    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        let files = [&self.tls_ca, &self.tls_cert, &self.tls_key];
        self.tls || files.iter().any(|file| file.is_some()) || !self.tls_name.is_empty()
    }
}

/// What encrypted connections are made with.
pub struct Tls {
    /// For the driver.
    pub config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    client: Arc<Client>,
}

impl Tls {
    /// Reads the files that the flags name; `hosts` are the contact points as typed.
    ///
    /// # Errors
    /// `Error` names the file, or the name that is none.
    pub fn new(args: &TlsArgs, hosts: &[String]) -> Result<Tls> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Verifier {
            roots: roots(args.tls_ca.as_deref())?,
            algorithms: provider.signature_verification_algorithms,
            names: if args.tls_skip_hostname { None } else { Some(Names::new(args, hosts)?) },
            refusals: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .doing(|| "set up TLS")?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let own = match &args.tls_cert {
            None => None,
            Some(file) => Some(own_certificate(file, args.tls_key.as_ref().unwrap_or(file), &provider)?),
        };
        let client = Arc::new(Client { own, asked: AtomicBool::new(false) });
        let config = config.with_client_cert_resolver(client.clone());
        Ok(Tls { config: Arc::new(config), verifier, client })
    }

    /// `inner`, or none, such that the addresses which the cluster tells may be proved by certificates.
    pub fn translator(&self, inner: Option<Arc<dyn AddressTranslator>>) -> Arc<dyn AddressTranslator> {
        Arc::new(Told { inner, verifier: self.verifier.clone() })
    }

    /// The nodes that were not believed so far, and why.
    pub fn refusals(&self) -> Vec<(IpAddr, Refusal)> {
        let refusals = lock(&self.verifier.refusals);
        refusals.iter().map(|(node, refusal)| (*node, refusal.clone())).collect()
    }
}

/// Why a certificate was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As in "the certificate of 10.0.0.1 …".
    pub what: String,
    /// What the user can do.
    pub hint: &'static str,
}

/// The authorities of `file`, otherwise those of this machine.
fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(Error::failed(format!("this machine has no certificates of authorities{why}"))
                .hint("name a file of them with --tls-ca, or install them (Debian: ca-certificates)"));
        }
        return Ok(roots);
    };
    for certificate in certificates(file)? {
        roots.add(certificate).doing(|| format!("read the certificates of {}", file.display()))?;
    }
    Ok(roots)
}

/// The certificates of a file, one at least.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let doing = || format!("read the certificates of {}", file.display());
    let text = std::fs::read(file).doing(doing)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().doing(doing)?;
    if found.is_empty() {
        return Err(Error::failed(format!("{} holds no certificate", file.display()))
            .hint("a certificate in PEM begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

/// This client's certificate with its key.
fn own_certificate(file: &Path, key_file: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
    let doing = || format!("use the key of {}", key_file.display());
    let signer = provider.key_provider.load_private_key(key(key_file)?).doing(doing)?;
    let own = CertifiedKey::new(certificates(file)?, signer);
    // Others than a mismatch say that rustls cannot read the certificate, as those of X.509 version 1: the server may.
    if let Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = own.keys_match() {
        let (key, file) = (key_file.display(), file.display());
        return Err(Error::failed(format!("the key of {key} does not fit the certificate of {file}"))
            .hint("--tls-cert has this client's certificate first, those that signed it behind it"));
    }
    Ok(Arc::new(own))
}

/// The private key of a file. What is in it must not get into messages.
fn key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = std::fs::read(file).doing(|| format!("read the key of {}", file.display()))?;
    warn_if_open(file);
    if memchr::memmem::find(&text, b"ENCRYPTED").is_some() {
        return Err(Error::failed(format!("the key of {} is encrypted", file.display()))
            .hint("cqlift asks for no passphrase: `openssl pkey -in KEY -out PLAIN` decrypts it; keep PLAIN readable by you alone"));
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => {
            Err(Error::failed(format!("{} holds no private key", file.display())).hint(
                "a key in PEM begins with -----BEGIN PRIVATE KEY-----, or RSA PRIVATE KEY, or EC PRIVATE KEY",
            ))
        }
        Err(_) => Err(Error::failed(format!("the key of {} is damaged", file.display()))),
    }
}

/// Warns of a secret that everybody on this machine can read: no error, as in containers it may not be the user's choice.
pub fn warn_if_open(file: &Path) {
    const ANYBODY_READS: u32 = 0o004;
    let mode = std::fs::metadata(file).map_or(0, |about| about.permissions().mode());
    if mode & ANYBODY_READS != 0 {
        let file = file.display();
        report::warn(&format!(
            "everybody on this machine can read {file}: `chmod 600 {file}` keeps it to you"
        ));
    }
}

/// What certificates may prove.
#[derive(Debug)]
struct Names {
    /// For any node.
    any: Vec<ServerName<'static>>,
    /// Each for the node that is reached there.
    own: Mutex<BTreeSet<IpAddr>>,
    /// Whether what the cluster tells counts too.
    learns: bool,
}

impl Names {
    fn new(args: &TlsArgs, hosts: &[String]) -> Result<Names> {
        let typed = if args.tls_name.is_empty() { hosts } else { &args.tls_name };
        let mut names = Names { any: Vec::new(), own: Mutex::default(), learns: args.tls_name.is_empty() };
        for text in typed.iter().map(|host| without_port(host)) {
            let name = ServerName::try_from(text.to_owned())
                .map_err(|_| Error::usage(format!("{text:?} is no name that a certificate can carry")))?;
            match name {
                ServerName::IpAddress(ip) if names.learns => drop(lock(&names.own).insert(ip.into())),
                name => names.any.push(name),
            }
        }
        Ok(names)
    }

    /// Whether a certificate proves one of them; the error tells the names that it carries.
    fn check(&self, certificate: &ParsedCertificate<'_>, node: IpAddr) -> Result<(), rustls::Error> {
        let address = ServerName::IpAddress(node.into());
        let own = lock(&self.own).contains(&node).then_some(&address);
        let mut last = Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName));
        for name in own.into_iter().chain(&self.any) {
            last = verify_server_name(certificate, name);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

/// A host as typed, which may bring its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if host.parse::<IpAddr>().is_err() => name.trim_matches(['[', ']']),
        _ => host,
    }
}

/// Nothing is left half changed under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Believes a certificate, or not.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    /// `None`: any.
    names: Option<Names>,
    refusals: Mutex<BTreeMap<IpAddr, Refusal>>,
}

impl Verifier {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        node: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            between,
            now,
            self.algorithms.all,
        )?;
        match (&self.names, node) {
            (None, _) => Ok(()),
            (Some(names), ServerName::IpAddress(ip)) => names.check(&certificate, (*ip).into()),
            (Some(_), name) => verify_server_name(&certificate, name),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        node: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.check(certificate, between, node, now);
        if let ServerName::IpAddress(ip) = node {
            let mut refusals = lock(&self.refusals);
            match &checked {
                Ok(()) => refusals.remove(&(*ip).into()),
                Err(error) => refusals.insert((*ip).into(), refusal(error)),
            };
        }
        checked.map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What rustls says of a certificate, in the user's words.
fn refusal(error: &rustls::Error) -> Refusal {
    let (what, hint) = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => (
                "is of an authority that is not believed".to_owned(),
                "give the certificate of the authority that signed it with --tls-ca FILE; without, this machine's are believed",
            ),
            CertificateError::ExpiredContext { not_after, .. } => (
                format!("has expired, on {}", date(*not_after)),
                "renew it on the server; is this machine's clock right?",
            ),
            CertificateError::NotValidYetContext { not_before, .. } => {
                (format!("is valid only from {}", date(*not_before)), "is this machine's clock right?")
            }
            CertificateError::NotValidForNameContext { presented, .. } => (
                format!("is for {}, and not for what was asked for", listed(presented)),
                "connect by a name that it carries: with -h, or with --tls-name for nodes that are reached by another; \
                 --tls-skip-hostname believes any that --tls-ca has signed",
            ),
            CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => (
                "is of X.509 version 1, which carries no names".to_owned(),
                "give the server one of version 3, with a subjectAltName",
            ),
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
                "is that of an authority itself (CA:TRUE)".to_owned(),
                "give the server a certificate of its own, signed by the authority",
            ),
            problem => (
                format!("is not believed: {problem}"),
                "see what the server shows with `openssl s_client -connect HOST:PORT`",
            ),
        },
        error => (
            format!("is not believed: {error}"),
            "see what the server shows with `openssl s_client -connect HOST:PORT`",
        ),
    };
    Refusal { what, hint }
}

/// The names of a certificate without what rustls writes around them.
fn listed(names: &[String]) -> String {
    const KINDS: [&str; 2] = ["DnsName(", "IpAddress("];
    let bare = |name: &String| {
        let inner = KINDS.iter().find_map(|kind| name.strip_prefix(kind)?.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    match names {
        [] => "no name at all".to_owned(),
        names => names.iter().map(bare).collect::<Vec<_>>().join(", "),
    }
}

/// A day as `YYYY-MM-DD`, UTC.
fn date(moment: UnixTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let mut text = Vec::new();
    civil::put_date(i64::try_from(moment.as_secs() / DAY).unwrap_or(i64::MAX), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// What a connection that failed with `error` says of TLS, if it does.
pub fn told(tls: Option<&Tls>, error: &str) -> Option<Refusal> {
    const ALERT: &str = "received fatal alert: ";
    let is_broken = error.contains("Connection broken") || error.contains(ALERT);
    let Some(tls) = tls else {
        // A server that expects TLS resets the connection (measured on 5.0) and says nothing that tells it from others.
        let what = "the server closed the connection without an answer".to_owned();
        return is_broken.then_some(Refusal {
            what,
            hint: "if it asks for encrypted connections, give --tls or --tls-ca FILE",
        });
    };
    if let Some((node, refusal)) = tls.refusals().into_iter().next() {
        return Some(Refusal { what: format!("the certificate of {node} {}", refusal.what), ..refusal });
    }
    let (what, hint) = match (&tls.client.own, tls.client.asked.load(Relaxed)) {
        _ if error.contains("corrupt message") => (
            "the server answered, but not with TLS".to_owned(),
            "does this port take encrypted connections? Without --tls and --tls-… it is asked in plain text",
        ),
        _ if !is_broken => return None,
        // By TLS 1.3 a server judges the client when the client is done already: its alert often gets lost.
        (None, true) => (
            "the server asks clients for a certificate".to_owned(),
            "give one that an authority of the server has signed with --tls-cert FILE, and its key with --tls-key FILE",
        ),
        (Some(_), true) => (
            "the server ended the connection when it had this client's certificate".to_owned(),
            "it may not believe that of --tls-cert; its log says why",
        ),
        (_, false) => {
            let alert = error.split_once(ALERT).map_or("no reason", |(_, alert)| alert);
            (format!("the server ended the TLS handshake: {alert}"), "its log says why")
        }
    };
    Some(Refusal { what, hint })
}

/// Proves who this client is, and remembers whether it was asked to.
#[derive(Debug)]
struct Client {
    own: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Client {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

/// Adds what the cluster tells of its nodes to what certificates may prove.
struct Told {
    inner: Option<Arc<dyn AddressTranslator>>,
    verifier: Arc<Verifier>,
}

#[async_trait]
impl AddressTranslator for Told {
    async fn translate_address(&self, peer: &UntranslatedPeer) -> Result<SocketAddr, TranslationError> {
        let address = match &self.inner {
            Some(inner) => inner.translate_address(peer).await?,
            None => peer.untranslated_address(),
        };
        // Only a node that was believed is asked for the others.
        if let Some(names) = self.verifier.names.as_ref().filter(|names| names.learns) {
            lock(&names.own).insert(address.ip());
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_are_those_that_were_typed_without_their_ports() {
        for (typed, name) in [
            ("db1", "db1"),
            ("db1:9142", "db1"),
            ("10.0.0.1:9142", "10.0.0.1"),
            ("::1", "::1"),
            ("[::1]:9142", "::1"),
        ] {
            assert_eq!(without_port(typed), name, "{typed}");
        }
    }

    #[test]
    fn names_count_for_any_node_and_addresses_for_their_own() {
        let args = |names: &[&str]| TlsArgs {
            tls: true,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            tls_name: names.iter().map(|name| (*name).to_owned()).collect(),
            tls_skip_hostname: false,
        };
        let hosts = ["db1:9142".to_owned(), "10.0.0.1".to_owned()];
        let typed = Names::new(&args(&[]), &hosts).unwrap();
        assert_eq!(typed.any, [ServerName::try_from("db1").unwrap()]);
        assert_eq!(*lock(&typed.own), BTreeSet::from(["10.0.0.1".parse().unwrap()]));
        assert!(typed.learns);
        let given = Names::new(&args(&["db2", "10.0.0.2"]), &hosts).unwrap();
        assert_eq!(given.any, ["db2", "10.0.0.2"].map(|name| ServerName::try_from(name).unwrap()));
        assert!(!given.learns && lock(&given.own).is_empty());
        assert!(Names::new(&args(&["not a name"]), &hosts).unwrap_err().to_string().contains("not a name"));
    }

    #[test]
    fn names_and_dates_of_certificates_are_plain() {
        let names = ["DnsName(\"db1\")", "IpAddress(10.0.0.1)", "other"].map(str::to_owned);
        assert_eq!(listed(&names), "db1, 10.0.0.1, other");
        assert_eq!(listed(&[]), "no name at all");
        // By `date -u -d @1795953599`.
        assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(1_795_953_599))), "2026-11-29");
    }
}
