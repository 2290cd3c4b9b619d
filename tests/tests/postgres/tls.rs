//! Encrypted connections, to a server with a certificate of its own.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::Postgres;
use eventfold_es::replication::{CommitLog, LogError, PostgresLog};
use eventfold_es_tests::TestResult;
use rcgen::CertifiedKey;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::pad::{Retried, SOON, check_all, open, write_some};
use crate::server::{Server, shared, sql};

/// A server for `127.0.0.1`, and the certificate that it shows.
fn encrypting() -> (Server, CertificateDer<'static>) {
    let names = vec!["127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let server = Server::with_certificate(&cert.pem(), &signing_key.serialize_pem());
    (server, cert.der().clone())
}

/// A connector that trusts one certificate.
fn trusting(certificate: CertificateDer<'static>) -> MakeRustlsConnect {
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

/// The numbers of the connections of a program: encrypted, and not.
async fn connections(url: &str) -> (i64, i64) {
    let count = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
                 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                 WHERE application_name = 'eventfold-es' AND datname = current_database()";
    let row = sql(url, move |client| client.query_one(count, &[])).await;
    let row = row.unwrap();
    (row.get(0), row.get(1))
}

/// Fails unless a projection does not connect, for this reason.
async fn is_refused(sink: Postgres, reason: &str) -> TestResult {
    let directory = tempfile::tempdir()?;
    let store = open::<Retried>(directory.path(), sink).await;
    let waited = store.wait_for::<Retried>(0, Duration::from_secs(1)).await;
    let refused = waited.unwrap_err().to_string();
    assert!(refused.contains(reason), "{refused}");
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_writes_over_an_encrypted_connection() -> TestResult {
    let (server, certificate) = encrypting();
    let url = server.database();
    let required = format!("{url}?sslmode=require");
    let directory = tempfile::tempdir()?;
    let sink = Postgres::url(&required).tls(trusting(certificate.clone()));
    let store = open::<Retried>(directory.path(), sink).await;
    write_some(&store, 0, 50).await;
    check_all::<Retried>(&store, &url).await;
    assert_eq!(connections(&url).await, (1, 0));
    store.rebuild_projection::<Retried>().await?;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;

    // The default of `sslmode` encrypts, since the server can.
    let store = open::<Retried>(
        directory.path(),
        Postgres::url(&url).tls(trusting(certificate.clone())),
    )
    .await;
    store.wait_for::<Retried>(0, SOON).await?;
    assert_eq!(connections(&url).await, (1, 0));
    store.close().await?;

    let (_, another) = encrypting();
    is_refused(
        Postgres::url(&required).tls(trusting(another)),
        "certificate",
    )
    .await?;
    let named = required.replace("127.0.0.1", "localhost");
    let sink = Postgres::url(named).tls(trusting(certificate));
    is_refused(sink, "not valid for name").await?;
    is_refused(Postgres::url(required), "no TLS implementation configured").await?;
    // This server has no certificate.
    let plain = format!("{}?sslmode=require", shared().database());
    let (_, certificate) = encrypting();
    let sink = Postgres::url(plain).tls(trusting(certificate));
    is_refused(sink, "server does not support TLS").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_several_nodes_is_encrypted() -> TestResult {
    let (server, certificate) = encrypting();
    let url = server.database();
    let required = format!("{url}?sslmode=require");
    let log = PostgresLog::connect(&required, "shop").tls(trusting(certificate));
    let log = tokio::task::spawn_blocking(move || -> Result<_, LogError> {
        log.open()?;
        log.append(0, "first".into()).unwrap();
        let entries = log.read(1, 1_000)?;
        assert_eq!(entries.len(), 1);
        Ok(log)
    });
    let log = log.await??;
    let (encrypted, not) = connections(&url).await;
    assert!(encrypted > 0, "no connection");
    assert_eq!(not, 0);
    drop(log);

    let (_, another) = encrypting();
    let refused = tokio::task::spawn_blocking(move || {
        let other = PostgresLog::connect(&required, "shop").tls(trusting(another));
        let untrusted = other.open().unwrap_err().to_string();
        let plain = PostgresLog::connect(&required, "shop").open();
        (untrusted, plain.unwrap_err().to_string())
    });
    let (untrusted, plain) = refused.await?;
    assert!(untrusted.contains("certificate"), "{untrusted}");
    assert!(plain.contains("no TLS implementation"), "{plain}");
    Ok(())
}
