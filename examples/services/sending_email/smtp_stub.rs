//! A mail server on a loopback port. It speaks enough SMTP to accept mails, and delivers none.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail that the server has accepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AcceptedMail {
    pub to: String,
    pub message_id: String,
    pub subject: String,
}

/// The answer to the next mail.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Answer {
    #[default]
    Accepts,
    /// It accepts the mail, and its answer never arrives.
    AcceptsSilently,
    /// Later it would accept the mail.
    Greylists,
    /// It never accepts the mail.
    Refuses,
}

#[derive(Debug, Default)]
struct State {
    next: Answer,
    accepted: Vec<AcceptedMail>,
    /// The number of mails that it did not accept.
    refusals: usize,
}

#[derive(Debug, Clone, Default)]
pub struct SmtpStub {
    state: Arc<Mutex<State>>,
}

impl SmtpStub {
    /// Listens on a free port, until the runtime ends.
    pub async fn start() -> io::Result<(Self, SocketAddr)> {
        let stub = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                // A client that hangs up in the middle is its own affair.
                tokio::spawn(async move { server.serve(stream).await.ok() });
            }
        });
        Ok((stub, address))
    }

    /// The answer to the next mail. Later mails are accepted.
    pub fn next_answer(&self, answer: Answer) {
        self.state().next = answer;
    }

    pub fn accepted(&self) -> Vec<AcceptedMail> {
        self.state().accepted.clone()
    }

    pub fn refusals(&self) -> usize {
        self.state().refusals
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let (reading, mut writing) = stream.split();
        let mut lines = BufReader::new(reading).lines();
        writing.write_all(b"220 stub\r\n").await?;
        let mut mail = AcceptedMail::default();
        while let Some(line) = lines.next_line().await? {
            let answer = match line.get(..4).unwrap_or_default() {
                "EHLO" => "250 stub",
                "MAIL" => "250 go on",
                "RCPT" => {
                    let address = line.trim_start_matches("RCPT TO:<");
                    mail.to = address.trim_end_matches('>').to_owned();
                    let mut state = self.state();
                    let refused = match state.next {
                        Answer::Greylists => Some("451 try again later"),
                        Answer::Refuses => Some("550 no such mailbox"),
                        Answer::Accepts | Answer::AcceptsSilently => None,
                    };
                    match refused {
                        Some(answer) => {
                            state.next = Answer::Accepts;
                            state.refusals += 1;
                            answer
                        }
                        None => "250 go on",
                    }
                }
                "DATA" => {
                    writing.write_all(b"354 go on\r\n").await?;
                    while let Some(line) = lines.next_line().await? {
                        match line.split_once(": ") {
                            Some(("Message-ID", id)) => mail.message_id = id.to_owned(),
                            Some(("Subject", subject)) => mail.subject = subject.to_owned(),
                            _ if line == "." => break,
                            _ => {}
                        }
                    }
                    let answer = {
                        let mut state = self.state();
                        state.accepted.push(std::mem::take(&mut mail));
                        std::mem::take(&mut state.next)
                    };
                    if answer == Answer::AcceptsSilently {
                        std::future::pending::<()>().await;
                    }
                    "250 accepted"
                }
                "QUIT" => "221 bye",
                _ => "500 unknown command",
            };
            writing
                .write_all(format!("{answer}\r\n").as_bytes())
                .await?;
        }
        Ok(())
    }
}
