// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{io, sync::Arc, time::Duration};

use clap::ValueEnum;
use lettre::{
    Message,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        extension::ClientId,
    },
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    Mail,
    stream::{Channel, MailStream},
};

/// A mail server that takes longer is as good as away.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest line of an answer before TLS (RFC 5321, 4.5.3.1.5 allows 512), and most lines of one.
const LONGEST_LINE: usize = 1_024;
const MOST_LINES: usize = 64;

/// How the connection to the mail server is secured.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// TLS after a STARTTLS command, as on port 587; never without
    #[default]
    Starttls,
    /// TLS from the start, as on port 465
    Tls,
    /// No TLS, for a relay on the same machine
    None,
}

/// A mail server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmtpOptions {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// Roots that its certificate must come from, PEM; `None` for those of the system.
    pub ca: Option<Vec<u8>>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// Address of the sender, perhaps with a name.
    pub from: String,
}

/// Why a mail did not go out.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("an address is none")]
    Address(#[source] lettre::address::AddressError),
    #[error("put the mail together")]
    Message(#[source] lettre::error::Error),
    #[error("reach the mail server")]
    Connect(#[source] io::Error),
    #[error("secure the connection to the mail server: {0}")]
    Secure(String),
    #[error("the mail server does not go on")]
    Smtp(#[source] lettre::transport::smtp::Error),
    #[error("the mail server did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// Hands one mail to the server.
pub(super) async fn send(options: &SmtpOptions, mail: &Mail) -> Result<(), MailError> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(MailError::Address);
    let message = Message::builder()
        .from(mailbox(&options.from)?)
        .to(mailbox(&mail.to)?)
        .subject(&mail.subject)
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.clone())
        .map_err(MailError::Message)?;
    let sending = async {
        let stream = connect(options).await?;
        let mut server = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &ClientId::default())
            .await
            .map_err(MailError::Smtp)?;
        if let Some((user, password)) = &options.login {
            let credentials = Credentials::new(user.clone(), password.clone());
            server
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(MailError::Smtp)?;
        }
        server.send(message.envelope(), &message.formatted()).await.map_err(MailError::Smtp)?;
        // It has the mail; how it says good-bye does not matter.
        let _ = server.quit().await;
        Ok(())
    };
    tokio::time::timeout(TIMEOUT, sending).await.unwrap_or(Err(MailError::Timeout))
}

async fn connect(options: &SmtpOptions) -> Result<MailStream, MailError> {
    let mut stream = TcpStream::connect((options.host.as_str(), options.port))
        .await
        .map_err(MailError::Connect)?;
    let peer = stream.peer_addr().map_err(MailError::Connect)?;
    let (channel, greeting): (_, &[u8]) = match options.tls {
        SmtpTls::None => (Channel::Plain(stream), b""),
        SmtpTls::Tls => (secure(options, stream).await?, b""),
        SmtpTls::Starttls => {
            starttls(&mut stream).await?;
            (secure(options, stream).await?, b"220 secured\r\n")
        }
    };
    Ok(MailStream { channel, peer, greeting })
}

async fn secure(options: &SmtpOptions, stream: TcpStream) -> Result<Channel, MailError> {
    let fail = |error: &dyn std::fmt::Display| MailError::Secure(error.to_string());
    let mut roots = RootCertStore::empty();
    match &options.ca {
        Some(pem) => {
            use rustls_pki_types::{CertificateDer, pem::PemObject};
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| fail(&error))?;
                roots.add(certificate).map_err(|error| fail(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| fail(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(options.host.clone()).map_err(|error| fail(&error))?;
    let secured = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| fail(&error))?;
    Ok(Channel::Tls(Box::new(secured)))
}

/// Asks for TLS. Nothing that came in clear is believed afterwards: the client greets anew.
async fn starttls(stream: &mut TcpStream) -> Result<(), MailError> {
    let refused = |answer: &str| MailError::Secure(format!("it answers {answer:?}"));
    for (command, wanted) in [("", "220"), ("EHLO localhost\r\n", "250"), ("STARTTLS\r\n", "220")] {
        stream.write_all(command.as_bytes()).await.map_err(MailError::Connect)?;
        let answer = answer(stream).await.map_err(MailError::Connect)?;
        if !answer.starts_with(wanted) {
            return Err(refused(&answer));
        }
    }
    Ok(())
}

/// The last line of an answer. It is read byte by byte, so that nothing behind it is taken: what follows belongs to TLS.
async fn answer(stream: &mut TcpStream) -> io::Result<String> {
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            if line.len() >= LONGEST_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
            }
            line.push(stream.read_u8().await?);
        }
        // `250-…` goes on, `250 …` ends.
        if line.get(3) != Some(&b'-') {
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without an end"))
}
