// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A real SMTP server on the loopback, which hands out the mails that it takes.

#![allow(unreachable_pub, reason = "shared by several test programs, each of which uses a part")]
#![allow(dead_code, reason = "each test uses a part of it")]

use insights_collector::accounts::{SmtpOptions, SmtpTls};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use crate::{http::between, service::PATIENCE};

/// A mail as the server took it.
#[derive(Debug)]
pub struct Got {
    pub to: String,
    pub login: Option<String>,
    pub secured: bool,
    pub text: String,
}

impl Got {
    /// The path of the link in it.
    pub fn link(&self) -> String {
        // Long lines are folded in transit (quoted-printable).
        let text = self.text.replace("=\r\n", "").replace("=3D", "=");
        let path = between(&text, "http://insights.test", "\r\n").unwrap();
        path.trim().to_owned()
    }
}

/// An SMTP server: with a certificate it offers STARTTLS and takes mail and passwords behind it only.
pub async fn smtp_server(tls: Option<TlsAcceptor>) -> (u16, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, mails) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(greet(stream, tls.clone(), out.clone()));
        }
    });
    (port, mails)
}

async fn greet(mut stream: TcpStream, tls: Option<TlsAcceptor>, out: mpsc::UnboundedSender<Got>) {
    stream.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
    let Some(tls) = tls else {
        talk(BufReader::new(stream), false, out).await;
        return;
    };
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let answer: &[u8] = if line.starts_with("EHLO") {
            b"250-mail.test\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
        } else if line.starts_with("STARTTLS") {
            b"220 go ahead\r\n"
        } else {
            b"530 STARTTLS first\r\n"
        };
        reader.write_all(answer).await.unwrap();
        if line.starts_with("STARTTLS") {
            break;
        }
    }
    let Ok(stream) = tls.accept(reader.into_inner()).await else { return };
    talk(BufReader::new(stream), true, out).await;
}

async fn talk(mut stream: BufReader<impl AsyncRead + AsyncWrite + Unpin>, secured: bool, out: mpsc::UnboundedSender<Got>) {
    let (mut to, mut login) = (String::new(), None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let answer: &[u8] = match line.split([' ', '\r']).next().unwrap() {
            "EHLO" if secured => b"250-mail.test\r\n250 AUTH PLAIN\r\n",
            "EHLO" | "MAIL" => b"250 fine\r\n",
            "AUTH" => {
                login = Some(line.trim().trim_start_matches("AUTH PLAIN ").to_owned());
                b"235 come in\r\n"
            }
            "RCPT" => {
                to = between(&line, "<", ">").unwrap();
                b"250 fine\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut text).await.unwrap();
                }
                let login = login.clone();
                out.send(Got {
                    to: to.clone(),
                    login,
                    secured,
                    text,
                })
                .unwrap();
                b"250 taken\r\n"
            }
            "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n").await;
                return;
            }
            _ => b"500 what\r\n",
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// How to reach it without TLS.
pub fn options(port: u16) -> SmtpOptions {
    SmtpOptions {
        host: "127.0.0.1".to_owned(),
        port,
        tls: SmtpTls::None,
        ca: None,
        login: None,
        from: "MidoInsights <insights@mail.test>".to_owned(),
    }
}

/// The next mail.
pub async fn next(mails: &mut mpsc::UnboundedReceiver<Got>) -> Got {
    tokio::time::timeout(PATIENCE, mails.recv()).await.expect("a mail").unwrap()
}
